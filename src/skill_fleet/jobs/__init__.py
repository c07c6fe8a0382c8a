"""Work that outlives its request: a durable queue, workers, and a child process for each job."""
