"""Tests of the Earth Engine source, all of them against the local server."""
