//! Names with braces: `{00000..00012}` and `{a,b}`, as shards are often named.

use super::SourceError;

/// Most names of one pattern.
const NAMES_MAX: usize = 1_000_000;

/// Every name of the pattern, in order; the pattern itself when it has no braces.
///
/// # Errors
/// There are more than a million.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, SourceError> {
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, inner, after)) = braces(rest) {
        let parts = alternatives(inner)?;
        if names.len().saturating_mul(parts.len()) > NAMES_MAX {
            return Err(SourceError::unsupported(format!("{pattern:?}, which names more than {NAMES_MAX} files")));
        }
        names = names.iter().flat_map(|name| parts.iter().map(move |part| format!("{name}{before}{part}"))).collect();
        rest = after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

fn braces(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (inner, after) = rest.split_once('}')?;
    Some((before, inner, after))
}

fn alternatives(inner: &str) -> Result<Vec<String>, SourceError> {
    let numbers = inner.split_once("..").and_then(|(a, b)| Some((a, a.parse::<u64>().ok()?, b.parse::<u64>().ok()?)));
    let Some((first, from, to)) = numbers else {
        return Ok(inner.split(',').map(str::to_owned).collect());
    };
    if from.abs_diff(to) >= NAMES_MAX as u64 {
        return Err(SourceError::unsupported(format!("{{{inner}}}, which names more than {NAMES_MAX} files")));
    }
    let width = if first.starts_with('0') { first.len() } else { 0 };
    let name = |number: u64| format!("{number:0width$}");
    Ok(if from <= to { (from..=to).map(name).collect() } else { (to..=from).rev().map(name).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_keep_their_width_and_lists_their_order() {
        let names = |pattern| expand(pattern).unwrap();
        assert_eq!(names("a/{008..010}.tar"), ["a/008.tar", "a/009.tar", "a/010.tar"]);
        assert_eq!(names("{b,a}-{1..2}"), ["b-1", "b-2", "a-1", "a-2"]);
        assert_eq!(names("{2..1}"), ["2", "1"]);
        assert_eq!(names("plain{"), ["plain{"]);
        assert!(expand("{0..9999999999}").is_err() && expand("{0..999}{0..999}{0..999}").is_err());
    }
}
