//! [`in_steps`]: a change of many samples, some thousands at a time.
//!
//! Each step is a transaction of its own: others write in between, memory is bounded, and what is done stays done when the
//! rest is not.

use samplestore::Result;

use crate::failure::{Code, words};
use crate::interrupt;
use crate::output::counted;
use crate::progress::SampleProgress;

/// How many samples one step changes at most.
pub(crate) const STEP_SAMPLES: u64 = 10_000;

/// How far a change came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// How many samples were changed.
    pub(crate) samples: u64,
    /// Whether it was ended before there was nothing left to do.
    pub(crate) is_interrupted: bool,
}

/// Calls `step` with how many samples it may change until it changes none, `total` are changed or Ctrl-C is pressed. That is what
/// was agreed to: what others store meanwhile is left alone.
pub(crate) fn in_steps(total: u64, mut step: impl FnMut(u64) -> Result<u64>) -> Result<Changed> {
    let progress = SampleProgress::new(Some(total));
    let mut changed = Changed::default();
    loop {
        let left = total.saturating_sub(changed.samples);
        if interrupt::is_asked() {
            changed.is_interrupted = left > 0;
            break;
        }
        let count = match left {
            0 => 0,
            left => match step(left.min(STEP_SAMPLES)) {
                Ok(count) => count,
                Err(error) => {
                    progress.finish();
                    let done = counted(changed.samples, "sample");
                    words(&format!("changed before that: {done}"));
                    return Err(error);
                }
            },
        };
        if count == 0 {
            changed.is_interrupted = interrupt::is_asked() && changed.samples < total;
            break;
        }
        changed.samples += count;
        progress.samples(changed.samples);
    }
    progress.finish();
    Ok(changed)
}

impl Changed {
    /// The exit code, after saying that there is a rest.
    pub(crate) fn code(self) -> Code {
        if !self.is_interrupted {
            return Code::Fine;
        }
        words("interrupted; what is done stays, run it again for the rest");
        Code::Interrupted
    }
}
