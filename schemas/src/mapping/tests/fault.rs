//! What a program reads off a fault: its parts, and the line they become.

use super::FINLIT;
use crate::mapping::parse::load;

#[test]
fn a_fault_says_where_it_is_and_what_was_probably_meant() {
    let text = FINLIT.replace(
        "timezone: { type: varchar(50)",
        "timezone: { type: varchr(50)",
    );
    let Err(found) = load(&text, "a/b.yaml") else {
        panic!("no fault was found")
    };
    let [fault] = &found.0[..] else {
        panic!("{found}")
    };
    assert_eq!((fault.line, fault.column), (25, 25));
    assert_eq!(fault.place, "collections.learners.columns.timezone.type");
    assert_eq!(fault.suggestion.as_deref(), Some("varchar(50)"));
    assert_eq!(
        found.to_string(),
        "a/b.yaml:25:25: collections.learners.columns.timezone.type: unknown type `varchr(50)`; \
         did you mean `varchar(50)`?"
    );
}
