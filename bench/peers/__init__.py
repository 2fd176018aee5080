"""The peers' side of each comparison, with the settings that suit them best."""
