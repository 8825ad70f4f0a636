"""Sources of pixels: each turns a FetchPlan into a Patch."""
