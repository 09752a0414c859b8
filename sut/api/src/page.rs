//! Pages of a list: how many, and behind which item.

use observastack_kit::service::ServiceError;
use serde::Serialize;

/// Items in a page when the request names no number.
const DEFAULT_LIMIT: u32 = 20;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T, C> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `after` to get the next page; `null` on the last one.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// A page from one item more than it may have: that one tells whether there is a next page.
    pub fn from_one_more(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> C) -> Self {
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Page { items, next }
    }
}

/// The number of items asked for, or the default.
///
/// # Errors
/// 422 when it is no number from 1 to `most`.
pub fn limit(asked: Option<&str>, most: u32) -> Result<u32, ServiceError> {
    let Some(asked) = asked else {
        return Ok(DEFAULT_LIMIT.min(most));
    };
    match asked.parse() {
        Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(ServiceError::invalid(
            "limit",
            format!("{asked:?}"),
            format!("1 to {most}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_out_of_range_are_refused_with_the_range() {
        assert_eq!(limit(None, 100).unwrap(), 20);
        assert_eq!(limit(None, 5).unwrap(), 5);
        assert_eq!(limit(Some("100"), 100).unwrap(), 100);
        for asked in ["0", "101", "-1", "x", "", "1.5", "99999999999"] {
            let error = limit(Some(asked), 100).unwrap_err();
            assert_eq!(error.status.as_u16(), 422);
            assert_eq!(
                error.message,
                format!("limit: {asked:?} is not allowed, allowed: 1 to 100")
            );
        }
    }

    proptest! {
        /// Following `next` from page to page meets each item once and in order, and ends.
        #[test]
        fn pages_make_up_the_whole_list(items in proptest::collection::btree_set(0_u32..10_000, 0..200), limit in 1_u32..50) {
            let list: Vec<u32> = items.iter().copied().collect();
            let (mut met, mut after) = (Vec::new(), None);
            for _ in 0..=list.len() {
                let found = list.iter().copied().filter(|item| after.is_none_or(|after| *item > after));
                let page = Page::from_one_more(found.take(limit as usize + 1).collect(), limit, |item| *item);
                prop_assert!(page.items.len() <= limit as usize);
                met.extend(page.items);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            prop_assert_eq!(after, None);
            prop_assert_eq!(met, list);
        }
    }
}
