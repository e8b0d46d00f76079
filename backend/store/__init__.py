"""Files that visitors upload or make: camera paths, images, clips."""
