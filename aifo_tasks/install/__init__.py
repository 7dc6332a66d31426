"""Installing a project's dependencies into its overlays, once per change."""
