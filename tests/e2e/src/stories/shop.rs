//! The shop works: products, orders, stock, the report, and one trace through all services.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    http::{self, curl, post},
    journal,
    lab::{self, API_1, API_2, GATEWAY, INVENTORY, SHOP, UNITS},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("shop::every_unit_is_active_and_healthy", units_are_healthy),
        test(
            "shop::products_are_listed_page_by_page_and_read_one_by_one",
            products,
        ),
        test(
            "shop::an_order_lowers_the_stock_and_stands_in_the_database",
            order,
        ),
        test(
            "shop::a_repeated_idempotency_key_is_one_order",
            repeated_order,
        ),
        test(
            "shop::an_order_of_more_than_there_is_changes_nothing",
            insufficient_stock,
        ),
        test(
            "shop::both_report_algorithms_give_the_same_numbers",
            report_algorithms,
        ),
        test(
            "shop::the_report_page_comes_from_the_template_on_disk",
            report_template,
        ),
        test(
            "shop::one_trace_goes_through_gateway_api_and_inventory",
            trace,
        ),
        test("shop::both_api_instances_get_traffic", balancing),
    ]
}

fn units_are_healthy() -> Result<()> {
    for unit in UNITS {
        ensure!(systemd::is_active(unit)?, "{unit} is not active");
        let restarts = systemd::property(unit, "SubState")?;
        ensure!(restarts == "running", "{unit} is {restarts}");
    }
    let status = lab::ctl(&["status"])?;
    ensure!(status["healthy"] == true, "{status}");
    for unit in UNITS {
        let shown = status["units"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|shown| shown["unit"] == unit);
        let shown = shown.with_context(|| format!("status does not show {unit}"))?;
        ensure!(shown["active"] == "active", "{shown}");
        // status does not ask these; systemd's watchdog asks the guard.
        if ![lab::POSTGRESQL, lab::GUARD].contains(&unit) {
            ensure!(shown["health"] == "ok", "{shown}");
        }
        ensure!(
            shown["pid"].as_i64()
                == Some(i64::from(lab::main_process(unit)?.as_raw_nonzero().get())),
            "{shown}"
        );
    }
    Ok(())
}

fn products() -> Result<()> {
    let mut skus = Vec::new();
    let mut after = String::new();
    loop {
        let page = curl(&[&format!(
            "{SHOP}/products?category=kitchen&limit=100{after}"
        )])?
        .expect(200)?;
        for item in page["items"].as_array().context("no items")? {
            ensure!(
                item["category"] == "kitchen" && item["price_cents"].as_i64() > Some(0),
                "{item}"
            );
            skus.push(item["sku"].as_str().context("no sku")?.to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let in_database = lab::sql(
        "SELECT sku FROM shop.products WHERE category = 'kitchen' ORDER BY sku COLLATE \"C\"",
    )?;
    ensure!(
        skus == in_database.lines().collect::<Vec<_>>(),
        "{} products, not those of the database",
        skus.len()
    );
    ensure!(
        skus.len() > 100,
        "the seed has hundreds of kitchen products, not {}",
        skus.len()
    );

    let one = curl(&[&format!("{SHOP}/products/P00007")])?.expect(200)?;
    let row =
        lab::sql("SELECT name || '|' || price_cents FROM shop.products WHERE sku = 'P00007'")?;
    ensure!(
        row == format!(
            "{}|{}",
            one["name"].as_str().unwrap_or("?"),
            one["price_cents"]
        ),
        "{one} is not {row}"
    );
    ensure!(
        available_in_database("P00007")? == one["available"].as_i64().context("no stock shown")?,
        "{one}"
    );
    curl(&[&format!("{SHOP}/products/P99999")])?.expect(404)?;
    Ok(())
}

fn available_in_database(sku: &str) -> Result<i64> {
    let text = lab::sql(&format!(
        "SELECT on_hand - reserved FROM stock.items WHERE sku = '{sku}'"
    ))?;
    text.parse()
        .with_context(|| format!("stock of {sku}: {text}"))
}

fn order() -> Result<()> {
    let before = available_in_database("P00011")?;
    let answer = post(&format!("{SHOP}/orders"), &lab::order("P00011", 3))?;
    let placed = answer.expect(201)?;
    let id = placed["id"].as_i64().context("no id")?;
    ensure!(
        available_in_database("P00011")? == before - 3,
        "stock is not 3 lower than {before}"
    );
    let rows = lab::sql(&format!(
        "SELECT customer_id, total_cents, sku, quantity, unit_price_cents, price_cents FROM shop.orders \
         JOIN shop.order_lines ON order_id = id JOIN shop.products USING (sku) WHERE id = {id}"
    ))?;
    let price = placed["lines"][0]["unit_price_cents"]
        .as_i64()
        .context("no price")?;
    ensure!(
        rows == format!("1|{}|P00011|3|{price}|{price}", 3 * price),
        "{rows} is not {placed}"
    );

    ensure!(
        answer.header("location") == Some(&format!("/orders/{id}")),
        "{}",
        answer.head
    );
    let read = curl(&[&format!("{SHOP}/orders/{id}")])?.expect(200)?;
    wait::until_true(wait::SOON, "the order is confirmed", || {
        let order = curl(&[&format!("{SHOP}/orders/{id}")])?.expect(200)?;
        Ok(order["confirmed_at"].is_string())
    })?;
    ensure!(
        read["lines"] == placed["lines"] && read["total_cents"] == placed["total_cents"],
        "{read} is not {placed}"
    );
    let list = curl(&[&format!("{SHOP}/orders?customer=1&limit=1")])?.expect(200)?;
    ensure!(
        list["items"][0]["id"] == id,
        "the newest order of the customer is not {id}: {list}"
    );
    let shown = curl(&[&format!("{SHOP}/products/P00011")])?.expect(200)?;
    ensure!(shown["available"] == before - 3, "{shown}");
    Ok(())
}

fn repeated_order() -> Result<()> {
    let before = available_in_database("P00013")?;
    let key = format!("Idempotency-Key: e2e-{}", crate::clock::monotonic_ns());
    let body = lab::order("P00013", 2);
    let place = || curl(&["--json", &body, "--header", &key, &format!("{SHOP}/orders")]);
    let first = place()?.expect(201)?;
    let second = place()?.expect(200)?;
    ensure!(first["id"] == second["id"], "{first} and {second}");
    ensure!(
        available_in_database("P00013")? == before - 2,
        "stock is not 2 lower than {before}"
    );
    Ok(())
}

fn insufficient_stock() -> Result<()> {
    // Every 100th product is scarce: five pieces in the seed.
    let before = available_in_database("P00100")?;
    let orders = lab::sql("SELECT count(*) FROM shop.orders")?;
    let refused = post(&format!("{SHOP}/orders"), &lab::order("P00100", 6))?.expect(409)?;
    let error = &refused["error"];
    ensure!(
        error["code"] == "insufficient_stock" && error["sku"] == "P00100",
        "{refused}"
    );
    ensure!(
        error["requested"] == 6 && error["available"] == before,
        "{refused}"
    );
    ensure!(
        available_in_database("P00100")? == before,
        "the stock has changed"
    );
    ensure!(
        lab::sql("SELECT count(*) FROM shop.orders")? == orders,
        "an order was written"
    );
    Ok(())
}

fn report_algorithms() -> Result<()> {
    let report = |algorithm| {
        curl(&[&format!(
            "{SHOP}/report/sales?format=json&algorithm={algorithm}"
        )])?
        .expect(200)
    };
    let (good, bad) = (report("good")?, report("bad")?);
    ensure!(good == bad, "good: {good}\nbad: {bad}");
    let newest = "(SELECT id, total_cents FROM shop.orders ORDER BY id DESC LIMIT 10000) AS newest";
    let metrics = curl(&["http://127.0.0.1:8001/metrics"])?.body;
    let counted = lab::metric(
        &metrics,
        "http_server_request_duration_seconds_count",
        &["http_route=\"/report/sales\""],
    );
    ensure!(
        counted >= Some(2.0),
        "the gateway has counted {counted:?} reports under their route"
    );
    let revenue = lab::sql(&format!(
        "SELECT sum(total_cents), max(total_cents) FROM {newest}"
    ))?;
    ensure!(
        revenue
            == format!(
                "{}|{}",
                good["revenue_cents"], good["order_value"]["max_cents"]
            ),
        "{revenue} is not {good}"
    );
    Ok(())
}

fn report_template() -> Result<()> {
    let page = curl(&[&format!("{SHOP}/report/sales")])?;
    ensure!(
        page.status == 200 && page.body.contains("<h1>Sales report</h1>"),
        "{}",
        page.body
    );

    let path = "/usr/share/observastack/report-e2e.html";
    let _removed = Removed(path);
    fs::write(path, "the newest {{orders}} orders, from the disk")?;
    for service in ["api@1", "api@2"] {
        lab::configure(service, &[&format!("report.template_path={path}")])?;
    }
    let page = curl(&[&format!("{SHOP}/report/sales")])?;
    ensure!(
        page.status == 200 && page.body == "the newest 10000 orders, from the disk",
        "{}",
        page.body
    );
    fs::remove_file(path)?;
    let mark = journal::mark()?;
    let answer = curl(&["http://127.0.0.1:8101/report/sales"])?;
    ensure!(
        answer.status == 500,
        "answered {} without a template",
        answer.status
    );
    mark.wait_for(API_1, "which template is missing", |record| {
        journal::all_text(record).contains(path)
    })?;
    Ok(())
}

struct Removed(&'static str);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

fn trace() -> Result<()> {
    // The services log each request at debug level only.
    for unit in ["observastack-api@.service", INVENTORY] {
        systemd::drop_in(
            unit,
            "[Service]\nEnvironment=OBSERVASTACK_LOG=info,observastack_kit=debug\n",
        )?;
    }
    for unit in [INVENTORY, API_1, API_2] {
        systemd::restart(unit)?;
    }
    lab::wait_healthy()?;
    let mark = journal::mark()?;
    let trace = format!(
        "{:032x}",
        u128::from(crate::clock::monotonic_ns()) << 20 | 1
    );
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    let placed = curl(&[
        "--json",
        &lab::order("P00017", 1),
        "--header",
        &parent,
        &format!("{SHOP}/orders"),
    ])?;
    placed.expect(201)?;
    let request = placed
        .header("x-request-id")
        .context("the answer has no x-request-id")?
        .to_owned();
    let of_request = |record: &Value| record["TRACE_ID"] == *trace;
    let at_gateway = mark.wait_for(GATEWAY, "the request's trace", of_request)?;
    ensure!(at_gateway["REQUEST_ID"] == *request, "{at_gateway}");
    let instance = match at_gateway["UPSTREAM"].as_str() {
        Some("127.0.0.1:8101") => API_1,
        Some("127.0.0.1:8102") => API_2,
        _ => anyhow::bail!("no upstream in {at_gateway}"),
    };
    for unit in [instance, INVENTORY] {
        let record = mark.wait_for(unit, "the request's trace", of_request)?;
        ensure!(
            record["REQUEST_ID"] == *request,
            "{unit} logged another request: {record}"
        );
    }
    Ok(())
}

fn balancing() -> Result<()> {
    let served = |port: u16| -> Result<f64> {
        let text = http::curl(&[&format!("http://127.0.0.1:{port}/metrics")])?.body;
        let name = "http_server_request_duration_seconds_count";
        Ok(lab::metric(
            &text,
            name,
            &[
                "http_route=\"/products\"",
                "http_response_status_code=\"200\"",
            ],
        )
        .unwrap_or(0.0))
    };
    let before = (served(8101)?, served(8102)?);
    for _ in 0..20 {
        curl(&[&format!("{SHOP}/products?limit=1")])?.expect(200)?;
    }
    let after = (served(8101)?, served(8102)?);
    let shares = (after.0 - before.0, after.1 - before.1);
    ensure!(shares.0 + shares.1 == 20.0, "20 requests are {shares:?}");
    // Round robin, unless an instance is avoided for a moment.
    ensure!(
        shares.0 >= 5.0 && shares.1 >= 5.0,
        "20 requests are {shares:?}"
    );
    Ok(())
}
