//! Faults in what a column says of its values: several paths, arrays, values, the rest.

use super::column_faults::assert_faults;

#[test]
fn arrays() {
    assert_faults(&[
        (
            r#"{ type: "jsonb[]" }"#,
            &[
                "mapping.yaml:9:18: x.type: there are no arrays of `jsonb`: `jsonb[]` is a `jsonb`; did you mean `jsonb`?",
            ],
        ),
        (
            r#"{ type: "text[][]" }"#,
            &[
                "mapping.yaml:9:18: x.type: there are no arrays of `text[]`: `text[][]` is a `jsonb`; did you mean `jsonb`?",
            ],
        ),
        (
            r#"{ type: "varchr(9)[]" }"#,
            &["mapping.yaml:9:18: x.type: unknown type `varchr(9)`; did you mean `varchar(9)[]`?"],
        ),
        (
            "{ type: integer array, default: 1 }",
            &[
                r#"mapping.yaml:9:42: x.default: `1` is no `integer[]`: write "{}", the empty array"#,
            ],
        ),
        (
            "{ type: text array, convert: uuid-v5 }",
            &["mapping.yaml:9:39: x.convert: `convert: uuid-v5` does not give `text[]`"],
        ),
        (
            "{ type: text array, invalid: { out_of_range: null } }",
            &[
                "mapping.yaml:9:55: x.invalid.out_of_range: `out_of_range` cannot happen to `text[]`",
            ],
        ),
        (
            "{ type: integer array, invalid: truncate }",
            &["mapping.yaml:9:42: x.invalid: there is nothing to truncate in `integer[]`"],
        ),
    ]);
}

#[test]
fn several_paths() {
    assert_faults(&[
        (
            "{ type: text, path: [] }",
            &["mapping.yaml:9:30: x.path: the list names no path"],
        ),
        (
            "{ type: text, path: [a, b, a] }",
            &["mapping.yaml:9:37: x.path[2]: the path `a` stands twice"],
        ),
        (
            "{ type: text, path: [a, b..c] }",
            &[
                r#"mapping.yaml:9:34: x.path[1]: `b..c` is not a path: steps are separated by single dots, a dot in a name is written `\.`"#,
            ],
        ),
        (
            "{ type: jsonb, path: [., a] }",
            &[
                "mapping.yaml:9:35: x.path[1]: what stands behind `.`, which is always there, is never looked at",
            ],
        ),
        (
            "{ type: text, path: [a, .] }",
            &[
                "mapping.yaml:9:34: x.path[1]: the whole document, `.`, is `json` or `jsonb`, not `text`; did you mean `jsonb`?",
            ],
        ),
    ]);
}

#[test]
fn conversions_to_time_and_from_text() {
    assert_faults(&[
        (
            "{ type: text, convert: object-id-time }",
            &["mapping.yaml:9:33: x.convert: `convert: object-id-time` does not give `text`"],
        ),
        (
            "{ type: bigint, convert: epoch-seconds }",
            &["mapping.yaml:9:35: x.convert: `convert: epoch-seconds` does not give `bigint`"],
        ),
        (
            "{ type: uuid, convert: epoch-millis }",
            &["mapping.yaml:9:33: x.convert: `convert: epoch-millis` does not give `uuid`"],
        ),
        (
            "{ type: text, convert: parse }",
            &["mapping.yaml:9:33: x.convert: `convert: parse` does not give `text`"],
        ),
        (
            "{ type: date, convert: epoch-milis }",
            &[
                "mapping.yaml:9:33: x.convert: unknown word `epoch-milis`: known are `auto`, `text`, `uuid-v5`, `object-id-time`, `epoch-seconds`, `epoch-millis`, `parse`, `object-id`; did you mean `epoch-millis`?",
            ],
        ),
    ]);
}

#[test]
fn values() {
    assert_faults(&[
        (
            "{ type: text, values: [] }",
            &["mapping.yaml:9:32: x.values: there are no values"],
        ),
        (
            "{ type: text, values: a }",
            &[
                "mapping.yaml:9:32: x.values: `a` stands where a list or a block of values should be",
            ],
        ),
        (
            "{ type: integer, values: [1, two] }",
            &[
                "mapping.yaml:9:39: x.values[1]: `two` is no `integer`: write a whole number in range",
            ],
        ),
        (
            "{ type: integer, values: { one: 1, two: zwei } }",
            &[
                "mapping.yaml:9:50: x.values.two: `zwei` is no `integer`: write a whole number in range",
            ],
        ),
        (
            "{ type: text, values: [a, b, a] }",
            &["mapping.yaml:9:39: x.values[2]: `a` stands twice"],
        ),
        (
            "{ type: text, values: [a, b], default: c }",
            &["mapping.yaml:9:49: x.default: `c` is none of the column's values"],
        ),
        (
            "{ type: text, required: true, values: { a: null } }",
            &["mapping.yaml:9:50: x.values.a: a required column cannot become null"],
        ),
        (
            "{ type: text, convert: text, values: { a: b } }",
            &[
                "mapping.yaml:9:33: x.convert: `convert` says nothing where `values` say what stands for each",
            ],
        ),
        (
            "{ type: jsonb, values: [1] }",
            &["mapping.yaml:9:33: x.values: a `jsonb` cannot be one of several values"],
        ),
        (
            "{ type: text, invalid: { unlisted: null } }",
            &[
                "mapping.yaml:9:45: x.invalid.unlisted: `unlisted` cannot happen to a column without `values`",
            ],
        ),
        (
            "{ type: text, values: [a], invalid: { unlisted: truncate } }",
            &[
                "mapping.yaml:9:58: x.invalid.unlisted: `unlisted` cannot be mended by truncating: `reject` or `null`",
            ],
        ),
        (
            "{ type: text, constant: a, values: [a] }",
            &["mapping.yaml:9:45: x.values: `values` says nothing for a column with `constant`"],
        ),
    ]);
}

#[test]
fn the_rest() {
    assert_faults(&[
        (
            "{ type: text, rest: true }",
            &[
                "mapping.yaml:9:30: x.rest: the rest of a document is `jsonb`, not `text`; did you mean `jsonb`?",
            ],
        ),
        (
            "{ type: jsonb, rest: true, path: a }",
            &["mapping.yaml:9:31: x.rest: a column has one source, not both `path` and `rest`"],
        ),
        (
            "{ type: jsonb, rest: true, default: 1, required: true }",
            &[
                "mapping.yaml:9:46: x.default: `default` says nothing for a column with `rest`",
                "mapping.yaml:9:59: x.required: `required` says nothing for a column with `rest`",
            ],
        ),
        (
            "{ type: jsonb, rest: true }\n      y: { type: jsonb, rest: true }",
            &["mapping.yaml:10:31: y.rest: `x` takes the rest already"],
        ),
        (
            "{ type: jsonb, rest: true }\n      y: { type: json, path: . }",
            &["mapping.yaml:9:31: x.rest: `y` takes everything, so there is no rest"],
        ),
        (
            "{ type: jsonb, rest: true, invalid: { wrong_type: null } }",
            &["mapping.yaml:9:60: x.invalid.wrong_type: `wrong_type` cannot happen to `jsonb`"],
        ),
    ]);
}

#[test]
fn expressions() {
    assert_faults(&[
        (
            r#"{ type: text, expression: "doc.a +" }"#,
            &["mapping.yaml:9:36: x.expression: it is no CEL expression: mismatched input '<EOF>'"],
        ),
        (
            r#"{ type: text, expression: "dco.a" }"#,
            &[
                "mapping.yaml:9:36: x.expression: there is no `dco`: an expression sees `doc`, the document or element, and `id`, its `_id`; did you mean `doc`?",
            ],
        ),
        (
            r#"{ type: boolean, expression: "doc.a.startWith('b')" }"#,
            &[
                "mapping.yaml:9:39: x.expression: there is no function `startWith`; did you mean `startsWith`?",
            ],
        ),
        (
            r#"{ type: text, expression: "doc.a", default: b }"#,
            &[
                "mapping.yaml:9:54: x.default: `default` says nothing for a column with `expression`",
            ],
        ),
        (
            r#"{ type: text, expression: "doc.a", path: b }"#,
            &[
                "mapping.yaml:9:36: x.expression: a column has one source, not both `path` and `expression`",
            ],
        ),
        (
            "{ type: text, expression: }",
            &["mapping.yaml:9:34: x.expression: there is nothing where a CEL expression should be"],
        ),
    ]);
}
