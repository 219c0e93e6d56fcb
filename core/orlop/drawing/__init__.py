"""Pictures that a person can look at: plans and timelines as SVG, plans as Mermaid."""
