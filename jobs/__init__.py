"""One thin file a job: read the arguments, load the configuration, call intent_spark."""
