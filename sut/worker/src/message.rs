//! What a confirmation says: a text message after RFC 5322. The same order gives the same bytes, whenever it is sent.

use std::fmt::Write as _;

use observastack_kit::service::Money;

/// An order, as its confirmation tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The order.
    pub order_id: i64,
    /// Who placed it.
    pub customer_id: i64,
    /// The customer's name.
    pub customer: String,
    /// When, as in a `Date` header.
    pub placed_at: String,
    /// The sum of its lines.
    pub total_cents: i64,
    /// What was bought, by SKU.
    pub lines: Vec<Line>,
}

/// A line of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The product.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// How many.
    pub quantity: i32,
    /// What one piece cost.
    pub unit_price_cents: i32,
}

/// The domain of all addresses: reserved (RFC 2606), so that nothing of it is ever anybody's.
const DOMAIN: &str = "shop.example";

/// Longer names are cut: a line of a message has at most 998 bytes (RFC 5322, 2.1.1).
const LONGEST_NAME: usize = 100;

/// Bytes of a name in one encoded word, which has at most 75 characters with what is around it (RFC 2047).
const WORD_BYTES: usize = 20;

impl Confirmation {
    /// The same for every delivery of the same order: who gets it twice can tell.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("<order-{}@{DOMAIN}>", self.order_id)
    }

    /// The whole message, with CRLF at the end of each line.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _ = write!(text, "{line}\r\n");
        };
        let name = clean(&self.customer);
        line(format_args!("From: Shop <orders@{DOMAIN}>"));
        line(format_args!(
            "To: {} <customer-{}@{DOMAIN}>",
            display_name(&name),
            self.customer_id
        ));
        line(format_args!("Subject: Your order {}", self.order_id));
        line(format_args!("Date: {}", clean(&self.placed_at)));
        line(format_args!("Message-ID: {}", self.message_id()));
        line(format_args!("MIME-Version: 1.0"));
        line(format_args!("Content-Type: text/plain; charset=utf-8"));
        line(format_args!("Content-Transfer-Encoding: 8bit"));
        line(format_args!(""));
        line(format_args!("Dear {name},"));
        line(format_args!(""));
        line(format_args!("we have your order {}:", self.order_id));
        line(format_args!(""));
        for bought in &self.lines {
            let cents = i64::from(bought.quantity) * i64::from(bought.unit_price_cents);
            line(format_args!(
                "{:>5} x {} {}: {}",
                bought.quantity,
                clean(&bought.sku),
                clean(&bought.name),
                Money(cents)
            ));
        }
        line(format_args!(""));
        line(format_args!("Total: {}", Money(self.total_cents)));
        text
    }
}

/// Text without what ends a line or a header, and not too long.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_NAME)
        .collect()
}

/// A name in a header: quoted, or in encoded words where it is not ASCII.
fn display_name(name: &str) -> String {
    if name.is_ascii() {
        let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("\"{escaped}\"");
    }
    let mut words = Vec::new();
    let (mut word, mut bytes) = (String::new(), 0);
    for character in name.chars() {
        let mut buffer = [0; 4];
        let encoded = character.encode_utf8(&mut buffer).as_bytes();
        if bytes + encoded.len() > WORD_BYTES {
            words.push(std::mem::take(&mut word));
            bytes = 0;
        }
        bytes += encoded.len();
        for byte in encoded {
            let _ = write!(word, "={byte:02X}");
        }
    }
    words.push(word);
    let words: Vec<String> = words
        .iter()
        .map(|word| format!("=?UTF-8?Q?{word}?="))
        .collect();
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn confirmation(customer: &str) -> Confirmation {
        Confirmation {
            order_id: 10_007,
            customer_id: 42,
            customer: customer.into(),
            placed_at: "Thu, 01 Jan 2026 12:30:00 +0000".into(),
            total_cents: 4_205,
            lines: vec![
                Line {
                    sku: "P00001".into(),
                    name: "Plain kettle No. 1".into(),
                    quantity: 2,
                    unit_price_cents: 2_000,
                },
                Line {
                    sku: "P00002".into(),
                    name: "Pocket puzzle No. 2".into(),
                    quantity: 1,
                    unit_price_cents: 205,
                },
            ],
        }
    }

    #[test]
    fn a_message_has_its_headers_then_its_lines() {
        let expected = "From: Shop <orders@shop.example>\r\n\
            To: \"Ada \\\"A\\\" Abara\" <customer-42@shop.example>\r\n\
            Subject: Your order 10007\r\n\
            Date: Thu, 01 Jan 2026 12:30:00 +0000\r\n\
            Message-ID: <order-10007@shop.example>\r\n\
            MIME-Version: 1.0\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: 8bit\r\n\
            \r\n\
            Dear Ada \"A\" Abara,\r\n\
            \r\n\
            we have your order 10007:\r\n\
            \r\n    2 x P00001 Plain kettle No. 1: 40.00\r\n    1 x P00002 Pocket puzzle No. 2: 2.05\r\n\
            \r\n\
            Total: 42.05\r\n";
        assert_eq!(confirmation("Ada \"A\" Abara").render(), expected);
    }

    #[test]
    fn a_name_that_is_not_ascii_is_encoded_in_the_header_only() {
        let text = confirmation("Zoë").render();
        assert!(
            text.contains("To: =?UTF-8?Q?=5A=6F=C3=AB?= <customer-42@shop.example>\r\n"),
            "{text}"
        );
        assert!(text.contains("\r\nDear Zoë,\r\n"), "{text}");
    }

    proptest! {
        /// Whatever a customer is called, it adds no header and no line.
        #[test]
        fn no_name_breaks_the_message(customer in any::<String>()) {
            let text = confirmation(&customer).render();
            let plain = confirmation("Ada").render();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let (plain_head, plain_body) = plain.split_once("\r\n\r\n").unwrap();
            let headers = |head: &str| head.split("\r\n").filter(|line| !line.starts_with(' ')).count();
            prop_assert_eq!(headers(head), headers(plain_head));
            prop_assert!(head.is_ascii());
            prop_assert_eq!(body.split("\r\n").count(), plain_body.split("\r\n").count());
            for line in text.split("\r\n") {
                prop_assert!(line.len() <= 998 && !line.contains(['\r', '\n']));
            }
        }
    }
}
