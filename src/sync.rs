//! What threads wait on. The standard library's; `tests/schedules` puts a scheduler of its own in this place, so
//! that the code above runs there as it is here.

pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic};
