"""What is called what in the durable queue: for those who put jobs in and those who take them out."""

APPLICATION = "skill-fleet"
QUEUE = "jobs"
WORKFLOW = "job"
