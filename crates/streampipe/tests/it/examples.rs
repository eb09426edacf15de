//! The examples, run as programs.

use std::path::PathBuf;
use std::process::Command;

use crate::support::tests_alone;

/// Where `cargo test` puts the examples it has built: beside the directory of this test.
fn path_of(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test binary");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let path = profile.join("examples").join(example);
    if !path.is_file() {
        // `cargo test --test it` builds none.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args([
            "build",
            "--quiet",
            "--package",
            "streampipe",
            "--all-features",
            "--example",
            example,
        ]);
        assert!(build.status().expect("cargo runs").success(), "{example} was not built");
    }
    path
}

/// Runs it; returns what it says.
fn output_of(example: &str, args: &[&str]) -> String {
    let ran = Command::new(path_of(example)).args(args).output().expect("it starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{example}: {}\n{said}", ran.status);
    String::from_utf8(ran.stdout).expect("text")
}

tests_alone! {
    fn privsep_counts_what_the_parent_opened() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::io::Write::write_all(&mut file, b"one two\nthree\n").expect("room");
        let path = file.path().to_str().expect("text");
        assert_eq!(output_of("privsep", &[path, path]), format!("{path}: 3 words\n").repeat(2));
    }

    fn privsep_says_which_file_it_could_not_open() {
        let ran = Command::new(path_of("privsep")).arg("/no/such/file").output().expect("it starts");
        assert_eq!(ran.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&ran.stderr).contains("No such file"));
    }

    fn command_pool_replaces_the_worker_that_died() {
        let sum: u64 = (1..31).map(|number| number * number).sum();
        let expected = format!("30 answers, sum of squares {sum}\n");
        assert_eq!(output_of("command_pool", &[]), expected);
    }

    fn ring_records_arrive_all() {
        let sum: u64 = (0..1_000_000).sum();
        assert_eq!(output_of("ring_records", &[]), format!("1000000 records, sum {sum}\n"));
    }

    fn zygote_pool_forks_a_worker_for_each_job() {
        let sum: u64 = (0..20).map(|number| number * number).sum();
        let expected = format!("20 jobs, sum of squares {sum}\n20 workers ended well\n");
        assert_eq!(output_of("zygote_pool", &[]), expected);
    }

    fn handover_loses_no_connection() {
        let said = output_of("handover", &[]);
        assert!(said.ends_with("every connection had its answer; both versions answered: true\n"), "{said}");
    }

    fn introduction_lets_two_workers_talk_to_each_other() {
        let said = output_of("introduction", &[]);
        let expected = "stream has 6 letters, pipe has 4 letters\nasker: exit status: 0, answerer: exit status: 0\n";
        assert_eq!(said, expected);
    }

    fn tokio_server_serves_a_thousand_workers_at_once() {
        let expected = "5000 answers to 1000 workers\n1000 workers ended well\n";
        assert_eq!(output_of("tokio_server", &[]), expected);
    }
}
