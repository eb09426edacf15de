//! Everything the command says to a person, on standard error.

use std::io::Write;
use std::process::ExitCode;

use crate::exit_code::Code;

/// Writes one line as it is. Nobody may be there to read it: that is no failure.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says something: `streampipe: what`.
pub(crate) fn say(text: &str) {
    line(&format!("streampipe: {text}"));
}

/// Says what went wrong, and what may help.
pub(crate) fn failure(text: &str, hint: Option<&str>) {
    say(text);
    if let Some(hint) = hint {
        line(&format!("hint: {hint}"));
    }
}

/// Help and version go to standard output; wrong arguments are our own failure.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.render().to_string();
        say(text.trim_end().trim_start_matches("error: "));
        return Code::OwnFailure.into();
    }
    // A reader that went away is no failure.
    let _ = error.print();
    Code::Success.into()
}

/// Text from outside, made safe for a terminal: control characters are shown, not obeyed.
pub(crate) fn printable(text: &str) -> String {
    let obeyed = |c: char| {
        // Controls, and the marks that turn the direction of writing round.
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
