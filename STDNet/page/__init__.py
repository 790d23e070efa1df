"""The page: a small web server that super-resolves the sample or an uploaded capture and shows the result."""
