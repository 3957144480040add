"""How an invoice looks on paper, and who asks for paper."""

from html import escape

from control.invoices.models import Invoice, InvoiceLineItem

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Invoice {number}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
@page {{ size: A4; margin: 20mm }}
body {{ margin: 24px auto; max-width: 48em; padding: 0 16px; font: 15px/1.5 system-ui, sans-serif }}
header {{ display: flex; justify-content: space-between; gap: 24px; margin-bottom: 32px }}
h1 {{ font-size: 24px; margin: 0 }}
p {{ margin: 4px 0; overflow-wrap: anywhere }}
.issuer {{ white-space: pre-line; text-align: right }}
table {{ width: 100%; border-collapse: collapse }}
th, td {{ padding: 6px 8px; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top }}
th:first-child, td:first-child {{ text-align: left; overflow-wrap: anywhere }}
thead {{ display: table-header-group }}
tr {{ break-inside: avoid }}
tfoot td {{ border-bottom: 0; font-weight: 600 }}
footer {{ margin-top: 32px; color: #666; font-size: 13px }}
@media print {{ body {{ margin: 0; max-width: none; padding: 0 }} }}
</style></head>
<body>
<header><div><h1>Invoice {number}</h1><p>{status}</p></div><p class="issuer">{issuer}</p></header>
<p>For {customer}</p>
<p>{start} to {end}, UTC</p>
<table>
<thead><tr><th>What</th><th>Quantity</th><th>Price, USD</th><th>Amount, USD</th></tr></thead>
<tbody>
{lines}
</tbody>
<tfoot>
<tr><td colspan="3">Subtotal</td><td>{subtotal}</td></tr>
<tr><td colspan="3">Tax</td><td>{tax}</td></tr>
<tr><td colspan="3">Total</td><td>{total}</td></tr>
</tfoot>
</table>
<footer>Calls were paid when they were made. {mode}{id}</footer>
</body></html>
"""
LINE = "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"
STATES = {
    "draft": "A draft, which may change",
    "issued": "Issued {issued}, to be paid by {due}",
    "paid": "Issued {issued}, paid {paid}",
    "void": "Void: nothing is owed",
}


def page(invoice: Invoice, customer: str, issuer: str) -> str:
    """Names are what strangers typed: nothing of them becomes markup."""
    issued = invoice.issued_at.date().isoformat() if invoice.issued_at else ""
    due = invoice.due_at.date().isoformat() if invoice.due_at else ""
    paid = invoice.paid_at.date().isoformat() if invoice.paid_at else ""
    return PAGE.format(
        number=escape(invoice.invoice_number),
        status=STATES[invoice.status].format(issued=issued, due=due, paid=paid),
        issuer=escape(issuer),
        customer=escape(customer),
        start=invoice.period_start,
        end=invoice.period_end,
        lines="\n".join(map(row, invoice.line_items)),
        subtotal=invoice.subtotal_usd,
        tax=invoice.tax_usd,
        total=invoice.total_usd,
        mode="Test money, worth nothing. " if invoice.mode == "test" else "",
        id=invoice.id,
    )


def row(line: InvoiceLineItem) -> str:
    return LINE.format(escape(line.description), line.quantity, line.unit_price, line.amount_usd)


def wants_page(accept: str | None) -> bool:
    """Whether a page is named before JSON, as browsers do; whoever takes anything gets JSON."""
    for one in (accept or "").lower().split(","):
        kind = one.partition(";")[0].strip()
        if kind in ("application/json", "application/*", "*/*"):
            return False
        if kind in ("text/html", "text/*", "application/xhtml+xml"):
            return True
    return False
