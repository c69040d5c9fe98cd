"""Pages of any layout, drawn, captured and cropped with exact labels."""
