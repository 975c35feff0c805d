"""From everything the teacher said to what a student may learn from: rules that keep or drop, and their books."""
