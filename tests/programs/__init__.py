"""Programs that tests run as processes of their own, to race, to fill their disk, to be killed."""
