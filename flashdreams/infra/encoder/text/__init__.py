"""Encoders of prompts."""
