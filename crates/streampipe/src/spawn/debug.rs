use std::fmt;

use super::Command;

/// As std's: a line for a shell, in which each word is quoted as a Rust string is; `{:#?}` shows all
/// that was set.
///
/// Only what std's shows, too, is in the line: descriptors, limits and identity are not. It is for people,
/// and not for a shell to run.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { self.fmt_fields(f) } else { self.fmt_line(f) }
    }
}

impl Command {
    fn fmt_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(directory) = &self.directory {
            write!(f, "cd {directory:?} && ")?;
        }
        if self.clears_environment {
            f.write_str("env -i ")?;
        } else {
            let removed = self.variables.iter().filter(|(_, value)| value.is_none());
            for (place, (key, _)) in removed.enumerate() {
                f.write_str(if place == 0 { "env " } else { "" })?;
                write!(f, "-u {} ", key.to_string_lossy())?;
            }
        }
        for (key, value) in &self.variables {
            if let Some(value) = value {
                write!(f, "{}={value:?} ", key.to_string_lossy())?;
            }
        }
        match &self.arg0 {
            Some(name) if *name != self.program => write!(f, "[{:?}] {name:?}", self.program)?,
            _ => write!(f, "{:?}", self.program)?,
        }
        self.args.iter().try_for_each(|arg| write!(f, " {arg:?}"))
    }

    fn fmt_fields(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("arg0", &self.arg0)
            .field("args", &self.args)
            .field("clears_environment", &self.clears_environment)
            .field("variables", &self.variables)
            .field("directory", &self.directory)
            .field("stdio", &self.stdio)
            .field("place", &self.place)
            .field("inherited", &self.inherited)
            .field("group", &self.group)
            .field("identity", &self.identity)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
