//! How errors are told.

use super::*;

#[test]
fn an_answer_in_xml_is_told_by_its_code_and_message() {
    let page = |code, message| {
        format!(
            "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><HostId>x</HostId></Error>"
        )
    };
    let (first, second) = (page("NoSuchBucket", "It is not there"), page("B", "b"));
    assert_eq!(
        without_xml(format!("status 404: {first}: again {second}.")),
        "status 404: NoSuchBucket: It is not there: again B: b."
    );
    for text in [
        "",
        "<Error>x</Error>",
        "</Error><?xml",
        "<Error><Code>1</Error></Code>",
    ] {
        assert_eq!(without_xml(text.to_owned()), text);
    }
}

#[test]
fn what_the_system_does_not_permit_is_not_called_read_only() {
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let failure = Failure::from(Error::io("open the database", "a.db", denied));
    assert_eq!(
        failure.message.as_deref(),
        Some("could not open the database: a.db: permission denied")
    );
    let read_only = Failure::from(Error::new(ErrorKind::ReadOnly, "store a batch"));
    let message = read_only.message.unwrap();
    assert!(message.starts_with("read-only: "), "{message}");
}

#[test]
fn another_run_is_hinted_at_where_it_may_help() {
    let error = || Error::new(ErrorKind::Io, "store a batch");
    let hinted = |error: Error| Failure::from(error).or_hint_to_retry("again").hint;
    assert_eq!(
        hinted(error().with_retryable(true)).as_deref(),
        Some("again")
    );
    assert_eq!(hinted(error()), None);
    let locked = Error::new(ErrorKind::Locked, "open").with_retryable(true);
    assert!(hinted(locked).is_some_and(|hint| hint.contains("--wait")));
}

#[test]
fn that_nobody_reads_an_answer_hides_nothing() {
    let code = |outcome: Outcome| match outcome {
        Ok(code) => code,
        Err(failure) => failure.code,
    };
    let unread = |end: Outcome| {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        code(answered(Err(gone), || end))
    };
    assert_eq!(unread(Ok(Code::Fine)), Code::Fine);
    assert_eq!(unread(Ok(Code::Rebuildable)), Code::Rebuildable);
    assert_eq!(unread(Err(Failure::usage("no"))), Code::Usage);
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    assert_eq!(code(answered(Err(full()), || Ok(Code::Fine))), Code::Error);
    let partly = answered(Err(full()), || Ok(Code::Partly));
    assert_eq!(code(partly), Code::Partly);
    // What cannot be read for it is another matter.
    let damaged = Failure::from(Error::new(ErrorKind::Damaged, "read the database"));
    let answer = answered(Err(damaged), || Ok(Code::Error));
    assert_eq!(code(answer), Code::Damaged);
}
