//! The texts of arrays, as Postgres reads them: `{a,"b c",NULL}`. One dimension.

/// Splits an array literal into its elements; `None` among them is NULL.
pub fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let mut chars = text.trim().strip_prefix('{')?.strip_suffix('}')?.chars();
    let mut items = Vec::new();
    let (mut item, mut quoted, mut inside) = (String::new(), false, false);
    let mut finish = |item: &mut String, quoted: &mut bool| -> Option<()> {
        let text = std::mem::take(item);
        match std::mem::take(quoted) {
            true => items.push(Some(text)),
            false => match text.trim() {
                "" | "{" => return None,
                bare if bare.eq_ignore_ascii_case("null") => items.push(None),
                bare => items.push(Some(bare.to_owned())),
            },
        }
        Some(())
    };
    let mut any = false;
    while let Some(c) = chars.next() {
        any |= !c.is_whitespace();
        match c {
            '\\' => item.push(chars.next()?),
            '"' => {
                inside = !inside;
                quoted = true;
            }
            ',' if !inside => finish(&mut item, &mut quoted)?,
            '{' | '}' if !inside => return None,
            c if quoted && !inside && c.is_whitespace() => {}
            c => item.push(c),
        }
    }
    if inside {
        return None;
    }
    if any {
        finish(&mut item, &mut quoted)?;
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn quotes_keep_what_would_mean_something_else() {
        let some = |texts: &[&str]| texts.iter().map(|t| Some((*t).to_owned())).collect::<Vec<_>>();
        assert_eq!(elements("{}"), Some(vec![]));
        assert_eq!(elements(" {1, 2} "), Some(some(&["1", "2"])));
        assert_eq!(elements(r#"{"a,b","NULL",c\\d}"#), Some(some(&["a,b", "NULL", "c\\d"])));
        assert_eq!(elements("{null,a}"), Some(vec![None, Some("a".to_owned())]));
        for text in ["", "1", "{1", "{1,}", "{{1}}", "{\"a}"] {
            assert_eq!(elements(text), None, "{text}");
        }
    }
}
