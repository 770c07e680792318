"""What several tests share: an application with tasks, and real workers to run them."""
