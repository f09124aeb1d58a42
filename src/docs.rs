//! Chapters: how to use the command, how the database is built, what its file looks like byte by byte, what every backend
//! promises, what the others do, and what was measured. The code is the last word; where a chapter says something else, that is a bug.

#[doc = include_str!("docs/tutorial.md")]
pub mod tutorial {}

#[doc = include_str!("docs/how_to.md")]
#[doc = "# Drawn\n"]
#[doc = include_str!("docs/weeks.svg")]
pub mod how_to {}

#[doc = include_str!("docs/reference.md")]
pub mod reference {}

#[doc = include_str!("docs/architecture.md")]
pub mod architecture {}

#[doc = include_str!("docs/file_format.md")]
pub mod file_format {}

#[doc = include_str!("docs/backends.md")]
pub mod backends {}

#[doc = include_str!("docs/contract.md")]
pub mod contract {}

#[doc = include_str!("docs/observing.md")]
pub mod observing {}

#[doc = include_str!("docs/what_survives_what.md")]
pub mod what_survives_what {}

#[doc = include_str!("docs/performance.md")]
#[doc = "# Drawn\n"]
#[doc = include_str!("docs/performance.svg")]
pub mod performance {}
