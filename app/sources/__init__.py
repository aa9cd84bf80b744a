"""What somebody names as a model, found and turned into a folder in Hugging Face's layout."""
