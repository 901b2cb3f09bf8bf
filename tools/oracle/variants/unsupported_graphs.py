"""Graphs that are no ResNet of this family: each has to be refused by a message that says where and why."""
