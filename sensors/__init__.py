"""What starts runs by itself: new files, new results, pending tickets, the clock."""
