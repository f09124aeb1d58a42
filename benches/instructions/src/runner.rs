//! gungraun's runner, which the bench starts under the name of this package's binary: what `cargo install
//! gungraun-runner` would install, in the version that `Cargo.lock` names.

use std::process::ExitCode;

use gungraun_runner::error::Error;

fn main() -> ExitCode {
    match gungraun_runner::runner::run::run() {
        Ok(()) => ExitCode::SUCCESS,
        // Already printed, beside the figures.
        Err(error) if matches!(error.downcast_ref(), Some(Error::RegressionError(_))) => {
            ExitCode::from(3)
        }
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}
