"""What a run is (its configuration), its record, and the store of all records."""
