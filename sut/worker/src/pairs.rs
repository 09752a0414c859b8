//! Which products are bought together: counting, without a database.

use std::collections::HashMap;

/// An order's products, as numbers, each once.
pub type Basket = Vec<u32>;

/// How many orders have both products; the smaller number comes first.
pub type Counts = HashMap<(u32, u32), u32>;

/// Most pairs of one order: what is beyond its first products is left out, so that no single order is the whole work.
const MOST_IN_BASKET: usize = 50;

/// One product and another one that is bought with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recommendation {
    /// The product.
    pub product: u32,
    /// The other one.
    pub other: u32,
    /// How many orders have both.
    pub orders: u32,
}

/// Counts the pairs of these orders.
#[must_use]
pub fn count(baskets: &[Basket]) -> Counts {
    let mut counts = Counts::new();
    for basket in baskets {
        let mut products = basket.clone();
        products.truncate(MOST_IN_BASKET);
        products.sort_unstable();
        products.dedup();
        for (index, first) in products.iter().enumerate() {
            for second in products.iter().skip(index + 1) {
                *counts.entry((*first, *second)).or_insert(0) += 1;
            }
        }
    }
    counts
}

/// Adds up the counts of several shards.
#[must_use]
pub fn merge(shards: impl IntoIterator<Item = Counts>) -> Counts {
    let mut all = Counts::new();
    for (pair, orders) in shards.into_iter().flatten() {
        *all.entry(pair).or_insert(0) += orders;
    }
    all
}

/// The `most` others that each product is bought with most often, the most frequent first; in the order of products, and
/// the same for the same counts.
#[must_use]
pub fn best(counts: &Counts, most: usize) -> Vec<Recommendation> {
    let mut all: Vec<Recommendation> = counts
        .iter()
        .flat_map(|(&(first, second), &orders)| {
            [(first, second), (second, first)].map(|(product, other)| Recommendation {
                product,
                other,
                orders,
            })
        })
        .collect();
    all.sort_unstable_by_key(|found| (found.product, std::cmp::Reverse(found.orders), found.other));
    let mut rank = 0;
    let mut last = None;
    all.retain(|found| {
        rank = if last == Some(found.product) {
            rank + 1
        } else {
            0
        };
        last = Some(found.product);
        rank < most
    });
    all
}

/// Cuts the orders into `parts` of about the same size; fewer where there are fewer orders.
#[must_use]
pub fn shards(baskets: &[Basket], parts: usize) -> Vec<&[Basket]> {
    let size = baskets.len().div_ceil(parts.max(1)).max(1);
    baskets.chunks(size).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recommendation(product: u32, other: u32, orders: u32) -> Recommendation {
        Recommendation {
            product,
            other,
            orders,
        }
    }

    #[test]
    fn what_is_bought_together_most_often_comes_first() {
        let baskets = [
            vec![3, 1, 2],
            vec![1, 2],
            vec![2, 1, 2],
            vec![3, 1],
            vec![4],
        ];
        let counts = count(&baskets);
        assert_eq!(
            best(&counts, 1),
            [
                recommendation(1, 2, 3),
                recommendation(2, 1, 3),
                recommendation(3, 1, 2)
            ]
        );
        assert_eq!(
            best(&counts, 5)[..2],
            [recommendation(1, 2, 3), recommendation(1, 3, 2)]
        );
        assert!(best(&Counts::new(), 5).is_empty());
    }

    #[test]
    fn equals_are_taken_in_the_order_of_products() {
        let counts = count(&[vec![9, 5], vec![9, 7], vec![9, 6]]);
        let of_nine: Vec<u32> = best(&counts, 2)
            .iter()
            .filter(|found| found.product == 9)
            .map(|found| found.other)
            .collect();
        assert_eq!(of_nine, [5, 6]);
    }

    proptest! {
        #[test]
        fn shards_together_count_what_the_whole_does(
            baskets in proptest::collection::vec(proptest::collection::vec(0_u32..20, 0..6), 0..60),
            parts in 1_usize..9,
        ) {
            let cut = shards(&baskets, parts);
            prop_assert!(cut.len() <= parts);
            prop_assert_eq!(merge(cut.into_iter().map(count)), count(&baskets));
        }
    }
}
