//! Pipelines (rules P1–P8).
