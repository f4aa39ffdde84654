"""Sample input for the examples: real pictures and texts, drawn and written anew, the same on every machine.

To make them: `python -m examples.pictures [FOLDER] [--count N]`.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

ORIENTATION = 0x0112  # the EXIF tag by which a camera says how it was held
TURNED_RIGHT = 6  # "turn by 90° clockwise to view"

TEXTS = {
    "watch.txt": """The watch on the wall keeps the light, and the light keeps the harbour.
When one keeper sleeps, the next keeper wakes; the light does not care whose hand it is.
""",
    "orders.md": """# Standing orders

- One keeper leads. The others watch the keeper who leads.
- A keeper who was asleep asks first whose watch it is.
- What was written in the book stays written in the book.
""",
    "weather.txt": """Fog in the morning, wind from the west, rain by night.
The boats didn't wait for the fog; they waited for the light.
""",
}


def make_samples(folder: Path, count: int = 8) -> tuple[Path, Path]:
    """Fill `folder/pictures` with `count` PNG and JPEG files and `folder/texts` with three texts; return both folders.

    Every fourth picture is a JPEG from a camera held sideways (EXIF orientation 6); the PNGs are partly transparent.
    """
    pictures, texts = folder / "pictures", folder / "texts"
    pictures.mkdir(parents=True, exist_ok=True)
    texts.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        size = (1600, 1200) if number % 3 else (1200, 1500)
        picture = draw_landscape(size, number)
        if number % 2:
            exif = Image.Exif()
            if number % 4 == 3:
                exif[ORIENTATION] = TURNED_RIGHT
                picture = picture.transpose(Image.Transpose.ROTATE_90)
            picture.save(pictures / f"landscape-{number:03}.jpg", quality=90, exif=exif)
        else:
            picture.putalpha(Image.linear_gradient("L").resize(size).point(lambda shade: 255 - shade // 3))
            picture.save(pictures / f"landscape-{number:03}.png", compress_level=1)
    for name, text in TEXTS.items():
        (texts / name).write_text(text, encoding="utf-8")
    return pictures, texts


def draw_landscape(size: tuple[int, int], number: int) -> Image.Image:
    """Draw a sky, a sun and two hills; `number` moves the sun and turns the colours."""
    width, height = size
    down = Image.linear_gradient("L").resize(size)
    picture = Image.merge("RGB", [down.point(lambda s: 60 + s * 2 // 3), down.point(lambda s: 110 + s // 3), down])
    draw = ImageDraw.Draw(picture)
    hue = number * 47 % 360
    x, y, radius = width * (1 + number % 5) // 6, height // 3, height // 9
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=f"hsl({hue}, 90%, 75%)")
    draw.ellipse((-width // 2, height * 3 // 5, width * 4 // 5, height * 7 // 5), fill=f"hsl({hue + 120}, 35%, 40%)")
    draw.ellipse((width // 4, height * 7 // 10, width * 5 // 3, height * 8 // 5), fill=f"hsl({hue + 150}, 40%, 28%)")
    return picture


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.pictures", description="Make sample pictures and texts.")
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default="var/examples/input",
        metavar="FOLDER",
        help="where (default: %(default)s)",
    )
    parser.add_argument("--count", type=int, default=8, metavar="N", help="how many pictures (default: %(default)s)")
    options = parser.parse_args()
    for folder in make_samples(options.folder, options.count):
        print(f"{folder}: {len(list(folder.iterdir()))} files")


if __name__ == "__main__":
    main()
