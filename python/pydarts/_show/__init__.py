"""Plots, live views, reports and notebook cards."""
