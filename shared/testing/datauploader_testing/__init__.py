"""What tests of DataUploader and of its plug-ins need: waiting, builders of events, private servers."""
