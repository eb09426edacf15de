//! Rust source, split as far as the rules need: code, comments, tokens, functions, test code.
//!
//! Not a parser. What it relies on: the source compiles, so quotes and brackets are balanced.

use std::ops::RangeInclusive;

/// A word, `::`, or one other character of code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'code> {
    /// Its offset in the code.
    pub(crate) at: usize,
    /// Itself.
    pub(crate) text: &'code str,
}

/// What a piece of source is.
#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Splits a text into its code and its comments.
///
/// Both keep every offset and line of the text; what is not theirs is blank. Of a string or
/// character literal, the code keeps a quote at each end.
pub(crate) fn split(text: &str) -> (String, String) {
    let mut code = String::with_capacity(text.len());
    let mut comments = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (kind, len) = first_piece(rest, code.ends_with(is_word));
        let (piece, behind) = rest.split_at(len);
        match kind {
            Kind::Code => code.push_str(piece),
            Kind::Comment => blank(&mut code, piece),
            Kind::Literal => blank_inside(&mut code, piece),
        }
        match kind {
            Kind::Comment => comments.push_str(piece),
            Kind::Code | Kind::Literal => blank(&mut comments, piece),
        }
        rest = behind;
    }
    (code, comments)
}

fn first_piece(rest: &str, after_word: bool) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    let literal = match rest.as_bytes()[0] {
        b'"' => Some(string(rest)),
        b'\'' => character(rest),
        b'r' | b'b' | b'c' if !after_word => raw_string(rest),
        _ => None,
    };
    match literal {
        Some(len) => (Kind::Literal, len),
        None => (Kind::Code, rest.chars().next().map_or(0, char::len_utf8)),
    }
}

/// The length of a block comment, those inside it included.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of a string literal that starts with its quote.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        // What is escaped may be a quote itself.
        chars.next()?;
        return chars.find(|&(_, it)| it == '\'').map(|(at, _)| at + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

/// The length of a raw string literal; `None` for anything else, such as a raw identifier.
fn raw_string(rest: &str) -> Option<usize> {
    let behind = ["r", "br", "cr"].iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let quote = behind.trim_start_matches('#');
    let hashes = &behind[..behind.len() - quote.len()];
    let inside = quote.strip_prefix('"')?;
    let end = format!("\"{hashes}");
    let len = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(rest.len() - inside.len() + len)
}

fn blank(into: &mut String, piece: &str) {
    for it in piece.chars() {
        match it {
            '\n' => into.push('\n'),
            _ => into.extend(std::iter::repeat_n(' ', it.len_utf8())),
        }
    }
}

fn blank_inside(into: &mut String, literal: &str) {
    match literal.get(1..literal.len().saturating_sub(1)) {
        Some(inside) => {
            into.push('"');
            blank(into, inside);
            into.push('"');
        }
        None => blank(into, literal),
    }
}

/// Whether a character can be part of a word.
pub(crate) fn is_word(it: char) -> bool {
    it.is_alphanumeric() || it == '_'
}

/// Splits code into tokens.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let rest = &code[at..];
        let word = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
        let len = match rest.chars().next() {
            _ if word > 0 => word,
            Some(':') if rest.starts_with("::") => 2,
            Some(it) => it.len_utf8(),
            None => break,
        };
        if !rest.starts_with(char::is_whitespace) {
            tokens.push(Token { at, text: &rest[..len] });
        }
        at += len;
    }
    tokens
}

/// Where in the tokens this sequence of texts starts.
pub(crate) fn find(tokens: &[Token<'_>], sequence: &[&str]) -> Vec<usize> {
    let same =
        |window: &[Token<'_>]| window.iter().zip(sequence).all(|(it, text)| it.text == *text);
    let windows = tokens.windows(sequence.len()).enumerate();
    windows.filter(|(_, window)| same(window)).map(|(at, _)| at).collect()
}

/// The index of the bracket that closes the one at this index.
pub(crate) fn close(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len() - 1
}

/// The index of the `;`, or of the closing brace, that ends the item around this index.
pub(crate) fn item_end(tokens: &[Token<'_>], from: usize) -> usize {
    let mut at = from;
    while at < tokens.len() {
        match tokens[at].text {
            ";" => return at,
            "{" => return close(tokens, at),
            "(" | "[" => at = close(tokens, at),
            _ => {}
        }
        at += 1;
    }
    tokens.len() - 1
}

/// A function with a body.
#[derive(Debug)]
pub(crate) struct Function<'code> {
    pub(crate) name: &'code str,
    /// The indices from `fn` to the closing brace.
    pub(crate) tokens: RangeInclusive<usize>,
}

/// All functions with a body, each before those inside it.
pub(crate) fn functions<'code>(tokens: &[Token<'code>]) -> Vec<Function<'code>> {
    let named = find(tokens, &["fn"]).into_iter().filter_map(|first| {
        let name = tokens.get(first + 1)?.text;
        let last = item_end(tokens, first);
        let has_body = name.starts_with(is_word) && tokens[last].text == "}";
        has_body.then_some(Function { name, tokens: first..=last })
    });
    named.collect()
}

/// The indices of what is compiled for tests only.
pub(crate) fn test_code(tokens: &[Token<'_>]) -> Vec<RangeInclusive<usize>> {
    let conditional = find(tokens, &["#", "[", "cfg"]).into_iter().filter_map(|first| {
        let last = close(tokens, first + 1);
        let mentions = |word| tokens[first..last].iter().any(|it| it.text == word);
        (mentions("test") && !mentions("not")).then(|| first..=item_end(tokens, last + 1))
    });
    conditional.collect()
}

/// The `use` items, from `use` to `;`.
pub(crate) fn imports<'tokens, 'code>(
    tokens: &'tokens [Token<'code>],
) -> Vec<&'tokens [Token<'code>]> {
    let whole = find(tokens, &["use"]).into_iter().filter_map(|first| {
        let len = tokens[first..].iter().position(|it| it.text == ";")?;
        Some(&tokens[first..=first + len])
    });
    whole.collect()
}

#[test]
fn code_and_comments_are_told_apart() {
    let (code, comments) =
        split("a/* b /* c */ d */e // f\n\"g\\\"// h\" + r#\"i\" j\"# 'k' '\\'' l");
    assert_eq!(code.split_whitespace().collect::<String>(), "ae\"\"+\"\"\"\"\"\"l");
    assert_eq!(comments.split_whitespace().collect::<String>(), "/*b/*c*/d*/".to_owned() + "//f");
    assert_eq!(code.find('l'), comments.len().checked_sub(1));
}

#[test]
fn lifetimes_raw_names_and_letters_of_many_bytes_are_no_literals() {
    let (code, _) = split("fn f<'a>(r#type: &'a str) -> char { 'ä' } // ö\nfn g() {}");
    let tokens = tokens(&code);
    let names: Vec<&str> = functions(&tokens).iter().map(|function| function.name).collect();
    assert_eq!(names, ["f", "g"]);
    assert!(code.contains("r#type: &'a str"));
}

#[test]
fn functions_end_at_their_own_brace() {
    let (code, _) =
        split("fn a(x: [u8; 2]) -> T where F: Fn() { if x { '}' } }\ntrait T { fn b(); }");
    let tokens = tokens(&code);
    let functions = functions(&tokens);
    assert_eq!(functions.len(), 1, "{functions:?}");
    assert_eq!(tokens[functions[0].tokens.end() + 1].text, "trait");
}

#[test]
fn test_code_ends_with_its_item() {
    let (code, _) = split("#[cfg(test)]\nmod tests { fn a() {} }\n#[cfg(not(test))]\nfn b() {}");
    let tokens = tokens(&code);
    let ranges = test_code(&tokens);
    assert_eq!(ranges.len(), 1);
    let b = find(&tokens, &["b"])[0];
    let a = find(&tokens, &["a"])[0];
    assert!(ranges[0].contains(&a) && !ranges[0].contains(&b));
}
