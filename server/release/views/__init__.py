"""What each part of the page shows, as plain values that a template only has to write down."""
