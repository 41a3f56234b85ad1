"""The contact sheet: the probe beside the candidates of every gallery, as one PNG.

A gallery that was not searched has its panel too, with the reason and the rule, so that "not searched" never looks
like "no match"; and the sheet carries the fixed wording, since pictures travel without their context.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

from agency_node.desk.outcome import LEAD_WORDING, NOT_CALIBRATED
from agency_node.engine.picture import open_picture
from federation.errors import LiaisonError

# Everything is drawn at twice the size in which it is meant to be seen.
_S = 2
_MARGIN, _GAP, _PAD = 36 * _S, 18 * _S, 20 * _S
_TILE_W, _TILE_H, _CAPTION = 132 * _S, 160 * _S, 64 * _S
_PER_ROW = 6
_PROBE = 240 * _S
_PAPER, _CARD, _LINE = "#f4f5f7", "#ffffff", "#d5d9e0"
_INK, _SOFT, _ACCENT, _REFUSED, _WARN = "#1b2432", "#5b6676", "#1d5fa8", "#fbf3f1", "#9c3a22"


@dataclass(frozen=True, slots=True)
class SheetCandidate:
    """One tile. `photo` is an encoded picture, or None when the owner does not release it; `note` is a line more."""

    rank: int
    similarity: float
    fmr: float | None = None
    subject: str | None = None
    photo: bytes | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class SheetGallery:
    """One panel. Without an answer `searched` is false, and `reason` and `rule` say why."""

    name: str
    title: str
    searched: bool
    reason: str
    rule: str | None = None
    candidates: Sequence[SheetCandidate] = ()


def contact_sheet(
    probe: bytes, galleries: Sequence[SheetGallery], *, heading: str = "Candidate list", most: int = 12
) -> bytes:
    """The sheet as PNG. `probe` is an encoded picture; at most `most` candidates of a gallery are shown."""
    panel_w = _PER_ROW * _TILE_W + (_PER_ROW - 1) * _GAP + 2 * _PAD
    left_w = _PROBE + 2 * _PAD
    width = _MARGIN * 2 + left_w + _GAP + panel_w
    panels = [_panel(gallery, panel_w, most) for gallery in galleries]
    side = _probe_card(probe, left_w)
    top = _MARGIN + 62 * _S
    column = sum(panel.height for panel in panels) + _GAP * max(0, len(panels) - 1)
    footer = _wrap(LEAD_WORDING, _font(13), width - 2 * _MARGIN - 2 * _PAD)
    footer_h = len(footer) * 20 * _S + 2 * 14 * _S
    body = max(column, side.height)
    sheet = Image.new("RGB", (width, top + body + _GAP + footer_h + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _bold(draw, (_MARGIN, _MARGIN), heading, _font(26), _INK)
    draw.line((_MARGIN, top - _GAP, width - _MARGIN, top - _GAP), fill=_LINE, width=_S)
    sheet.paste(side, (_MARGIN, top))
    y = top
    for panel in panels:
        sheet.paste(panel, (_MARGIN + left_w + _GAP, y))
        y += panel.height + _GAP
    y = top + body + _GAP
    draw.rounded_rectangle(
        (_MARGIN, y, width - _MARGIN, y + footer_h), 8 * _S, fill="#fff7e0", outline="#e2c777"
    )
    for number, line in enumerate(footer):
        draw.text((_MARGIN + _PAD, y + 14 * _S + number * 20 * _S), line, font=_font(13), fill="#5f4a0c")
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


def _probe_card(probe: bytes, width: int) -> Image.Image:
    card = _card(width, _PROBE + 2 * _PAD + 58 * _S, _CARD)
    draw = ImageDraw.Draw(card)
    _bold(draw, (_PAD, _PAD - 4 * _S), "Probe", _font(17), _INK)
    card.paste(_fitted(probe, _PROBE, _PROBE), (_PAD, _PAD + 28 * _S))
    caption = "The face that was searched; all others are masked."
    draw.text((_PAD, _PAD + _PROBE + 38 * _S), caption, font=_font(10.5), fill=_SOFT)
    return card


def _panel(gallery: SheetGallery, width: int, most: int) -> Image.Image:
    shown = list(gallery.candidates)[:most]
    rows = -(-len(shown) // _PER_ROW)
    reason = _wrap(gallery.reason, _font(13), width - 2 * _PAD)
    head = 2 * _PAD + 26 * _S + len(reason) * 20 * _S + (24 * _S if gallery.rule else 0)
    tiles = rows * (_TILE_H + _CAPTION) + _GAP * max(0, rows - 1)
    card = _card(width, head + (tiles + _GAP if shown else 0), _CARD if gallery.searched else _REFUSED)
    draw = ImageDraw.Draw(card)
    name_w = _bold(draw, (_PAD, _PAD), gallery.name, _font(17), _INK)
    badge = _badge(gallery, len(gallery.candidates), len(shown))
    room = width - 2 * _PAD - name_w - 24 * _S - int(_font(13).getlength(badge))
    title = _cut(gallery.title, _font(13), room)
    draw.text((_PAD + name_w + 12 * _S, _PAD + 3 * _S), title, font=_font(13), fill=_SOFT)
    colour = _ACCENT if gallery.searched else _WARN
    draw.text((width - _PAD, _PAD + 3 * _S), badge, font=_font(13), fill=colour, anchor="ra")
    y = _PAD + 30 * _S
    for line in reason:
        draw.text((_PAD, y), line, font=_font(13), fill=_SOFT if gallery.searched else _WARN)
        y += 20 * _S
    if gallery.rule:
        draw.text((_PAD, y), f"Deciding rule: {gallery.rule}", font=_font(13), fill=_INK)
        y += 24 * _S
    y += 8 * _S
    for number, candidate in enumerate(shown):
        row, column = divmod(number, _PER_ROW)
        x = _PAD + column * (_TILE_W + _GAP)
        card.paste(_tile(candidate), (x, y + row * (_TILE_H + _CAPTION + _GAP)))
    return card


def _tile(candidate: SheetCandidate) -> Image.Image:
    tile = Image.new("RGB", (_TILE_W, _TILE_H + _CAPTION), _CARD)
    draw = ImageDraw.Draw(tile)
    if candidate.photo is None:
        draw.rectangle((0, 0, _TILE_W - 1, _TILE_H - 1), fill="#eceef2", outline=_LINE)
        draw.multiline_text(
            (_TILE_W // 2, _TILE_H // 2),
            "photograph\nnot released",
            font=_font(11),
            fill=_SOFT,
            anchor="mm",
            align="center",
        )
    else:
        tile.paste(_fitted(candidate.photo, _TILE_W, _TILE_H), (0, 0))
    fmr = NOT_CALIBRATED if candidate.fmr is None else f"{candidate.fmr:.1e}"
    _bold(draw, (0, _TILE_H + 6 * _S), f"{candidate.rank}", _font(13), _INK)
    draw.text(
        (_TILE_W, _TILE_H + 6 * _S),
        f"cos {candidate.similarity:.3f}",
        font=_font(12),
        fill=_ACCENT,
        anchor="ra",
    )
    draw.text((0, _TILE_H + 25 * _S), _cut(candidate.subject or "", _font(11)), font=_font(11), fill=_INK)
    draw.text(
        (0, _TILE_H + 42 * _S),
        _cut(candidate.note or f"FMR {fmr}", _font(10.5)),
        font=_font(10.5),
        fill=_SOFT,
    )
    return tile


def _badge(gallery: SheetGallery, found: int, shown: int) -> str:
    if not gallery.searched:
        return "NOT SEARCHED"
    if not found:
        return "searched, no candidate"
    count = "1 candidate" if found == 1 else f"{found} candidates"
    return count if shown == found else f"{count}, {shown} shown"


def _fitted(data: bytes, width: int, height: int) -> Image.Image:
    """The whole picture, scaled to the frame on a quiet ground; nothing is cut off."""
    frame = Image.new("RGB", (width, height), "#e3e6eb")
    try:
        # Photographs come from other agencies: they are opened as carefully as any upload.
        pixels = open_picture(data).pixels
    except LiaisonError:
        ImageDraw.Draw(frame).text(
            (width // 2, height // 2), "not readable", font=_font(11), fill=_SOFT, anchor="mm"
        )
        return frame
    picture = Image.fromarray(pixels[:, :, ::-1].copy())
    whole = ImageOps.contain(picture, (width, height), Image.Resampling.LANCZOS)
    frame.paste(whole, ((width - whole.width) // 2, (height - whole.height) // 2))
    return frame


def _card(width: int, height: int, fill: str) -> Image.Image:
    card = Image.new("RGB", (width, height), _PAPER)
    ImageDraw.Draw(card).rounded_rectangle(
        (0, 0, width - 1, height - 1), 10 * _S, fill=fill, outline=_LINE, width=_S
    )
    return card


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _S)


def _bold(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    fill: str,
) -> int:
    """Text with a hairline around it, since Pillow brings one weight only; its width in pixels."""
    draw.text(place, text, font=font, fill=fill, stroke_width=1, stroke_fill=fill)
    return int(draw.textlength(text, font=font))


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line] if line else lines


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int = _TILE_W) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
