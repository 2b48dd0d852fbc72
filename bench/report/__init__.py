"""From results to what people read: Markdown tables, the verdict on the targets, and a page with plots that needs nothing else."""
