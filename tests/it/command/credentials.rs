//! Keys for S3 that a program gives, made variables by Amazon's command as the chapter on backends says.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Answer, Shell, six};
use crate::servers;

const PROFILE: &str = "work";
const KEY: &str = "of-a-program";

/// What the chapter says to do, for the profile.
fn of_chapter() -> String {
    let chapter = include_str!("../../../src/docs/backends.md");
    let begins = "eval \"$(aws configure export-credentials ";
    let (_, rest) = chapter.split_once(&format!("`{begins}")).unwrap();
    let (words, _) = rest.split_once('`').unwrap();
    assert!(words.contains("NAME"), "{words}");
    format!("{begins}{}", words.replace("NAME", PROFILE))
}

/// The folder of the first `aws` that is of version 2: the one of `PyPI` is 1, has no such verb, and may stand before it.
fn folder_of_aws() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|folder| {
        let said = Command::new(folder.join("aws")).arg("--version").output();
        said.is_ok_and(|said| said.stdout.starts_with(b"aws-cli/2"))
    })
}

#[test]
fn keys_of_a_program_are_exported_as_the_chapter_says() {
    let Some(server) = servers::s3::shared() else {
        return;
    };
    let Some(aws) = folder_of_aws() else {
        servers::skipped("AWS CLI 2", "apt-get install awscli");
        return;
    };
    let shell = Shell::new();
    let url = server.url();
    let stored = shell.run_with(["-d", &url, "import", "-"], &six());
    assert_eq!(stored.code, 0, "{stored:?}");

    let keys = format!(
        r#"{{"Version":1,"AccessKeyId":"{KEY}","SecretAccessKey":"of-no-value",
            "SessionToken":"for-long","Expiration":"2099-01-01T00:00:00Z"}}"#
    );
    let keys = shell.file("keys.json", keys);
    let config = format!("[profile {PROFILE}]\ncredential_process = cat {keys}\n");
    let config = shell.file("config", config);
    let nothing = shell.file("nothing", "");
    let bin = Path::new(env!("CARGO_BIN_EXE_samplestore"))
        .parent()
        .unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let before = [bin.to_owned(), aws].into_iter();
    let path = std::env::join_paths(before.chain(std::env::split_paths(&path))).unwrap();
    // The home stays, where packages of Python may be.
    let run = |script: &str| {
        let mut command = assert_cmd::Command::new("sh");
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("AWS_")) {
                command.env_remove(name);
            }
        }
        command
            .args(["-c", script])
            .env("PATH", &path)
            .env("SAMPLESTORE_DB", url.split('?').next().unwrap())
            .env("AWS_ENDPOINT_URL", server.endpoint())
            .env("AWS_CONFIG_FILE", &config)
            .env("AWS_SHARED_CREDENTIALS_FILE", &nothing)
            .env("AWS_PROFILE", PROFILE);
        super::answer(&mut command)
    };
    let Answer { code, words, .. } = run("samplestore count");
    assert_eq!(code, 2, "{words}");
    assert!(words.contains("credential_process"), "{words}");
    let told = format!("aws configure export-credentials --profile {PROFILE} --format env");
    assert!(words.contains(&told), "{words}");

    let eval = of_chapter();
    assert!(eval.contains(&told), "{eval}");
    let answer = run(&format!(
        "{eval}\necho \"$AWS_ACCESS_KEY_ID\"\nsamplestore count"
    ));
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.data, format!("{KEY}\n6\n"), "{answer:?}");
}
