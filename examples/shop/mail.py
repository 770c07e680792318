"""Mails to customers and staff: written here, where a real shop hands them to its mail server."""

from __future__ import annotations

from email.message import EmailMessage
from typing import TYPE_CHECKING

from shop.app import app

if TYPE_CHECKING:
    from shop.orders import Order


@app.task
def receipt(order: Order) -> str:
    """Tell the customer that the parcel is on its way; returns the mail's subject."""
    dollars = f"${order['cents'] / 100:.2f}"
    return _send(
        to=f"customer-{order['customer']}@shop.example",
        subject=f"Your order {order['number']}",
        text=f"{order['items']} CDs, {dollars}, parcel {order['parcel']}. Thank you!",
    )


@app.task
def password_reset(customer: int) -> str:
    """Send the link that lets a customer in again; they are waiting for it."""
    return _send(
        to=f"customer-{customer}@shop.example",
        subject="Choose a new password",
        text="Follow the link in the shop's app within the hour.",
    )


@app.task
def payslip(slip: str) -> str:
    """Tell a member of the staff that a payslip is ready; never what is on it."""
    return _send(
        to=f"{slip}@staff.shop.example",
        subject=f"Payslip {slip}",
        text="It is ready in the personnel office's safe.",
    )


def _send(*, to: str, subject: str, text: str) -> str:
    message = EmailMessage()
    message["To"], message["From"], message["Subject"] = to, "shop@shop.example", subject
    message.set_content(text)
    message.as_bytes()  # what the mail server would get; raises for what is no mail
    return subject
