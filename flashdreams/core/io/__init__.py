"""Files from elsewhere: downloads that are kept, and repositories of the Hugging Face hub."""
