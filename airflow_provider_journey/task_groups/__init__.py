"""Task groups: several tasks that belong together, called as one."""
