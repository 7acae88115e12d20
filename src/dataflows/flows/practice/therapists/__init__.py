"""`therapist-import`: the scraper's files into the practice database."""
