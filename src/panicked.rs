//! Panics of code that is not ours, caught and put into words.
//!
//! Stages, measurements, sources, wakers and storages are other people's code; a panic in one of them
//! must not take a run or the writer's thread along (rules P4 and L5). The panic hook still runs, so
//! the message and the backtrace are printed as usual. With `panic = "abort"` nothing can be caught.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, ErrorKind, Result};

/// Runs `work` and gives the words of its panic, if it does panic.
///
/// Asserts unwind safety: callers drop what the code had in hand and only use what stands behind a
/// lock that stays whole.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| words(&*payload))
}

/// Runs `work`, a panic being an error of the kind `Panicked` in `operation`.
pub(crate) fn catch_error<T>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    catch(work)
        .unwrap_or_else(|words| Err(Error::new(ErrorKind::Panicked, operation).with_message(words)))
}

fn words(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_words() {
        assert_eq!(catch(|| 1), Ok(1));
        assert_eq!(catch(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        assert_eq!(
            catch(|| panic!("made of {}", 2)),
            Err::<(), _>("made of 2".to_owned())
        );
        let odd = catch(|| std::panic::panic_any(3));
        assert_eq!(odd, Err::<(), _>("a panic without a message".to_owned()));
        let error = catch_error::<()>("store a batch", || panic!("boom")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert_eq!(error.to_string(), "panicked: could not store a batch: boom");
    }
}
