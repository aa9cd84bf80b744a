"""What is said on the demo's radio: a small grammar of marine radio, English and Chinese.

The words and their order decide what a seed says, so a change here is another data set.
"""

import random
from dataclasses import dataclass

NATO = (
    "Alpha Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliet Kilo Lima Mike November "
    "Oscar Papa Quebec Romeo Sierra Tango Uniform Victor Whiskey Xray Yankee Zulu"
).split()
DIGITS = "zero one two three four five six seven eight nine".split()
VESSELS = (
    "sailing vessel,fishing vessel,motor yacht,cargo ship,tug boat,ferry,trawler,life raft,"
    "pilot boat,research ship"
).split(",")
NAMES = (
    "Blue Heron,Morning Star,Silver Wave,Ocean Pearl,Northern Light,Red Fox,Lucky Lady,"
    "Sea Breeze,Golden Gate,White Rose,Black Swan,Iron Duke,Wild Goose,Green Island,"
    "Summer Rain,Grey Owl,Happy Days,Long Shot,Black Marlin,Quiet Storm"
).split(",")
TROUBLES = (
    "we are taking on water,we are sinking,we have a fire on board,our engine has failed,"
    "we have lost our rudder,we are aground on rocks,we have a man overboard,"
    "our mast is broken,we are drifting north,we are drifting south,we have lost power,"
    "our captain is injured,we have collided with a container"
).split(",")
NEEDS = (
    "request immediate assistance,please send a lifeboat,please send a helicopter,"
    "we need a tow,we need medical advice,we are abandoning ship,"
    "standing by on channel one six,please relay our message,over,we have flares,"
    "all crew are safe"
).split(",")
WEATHER = (
    "strong wind,gale warning,thick fog,heavy rain,calm sea,light wind,rough sea,clear sky,"
    "thunderstorm"
).split(",")
DIRECTIONS = "north,south,east,west,north east,north west,south east,south west".split(",")
TIMES = ["morning", "afternoon", "evening", "night"]
STATIONS = ["Coast guard", "Harbour control", "Lifeboat", "Rescue helicopter"]

ZH_DIGITS = "零一二三四五六七八九"
ZH_NAMES = "藍鷺,晨星,銀浪,海珍珠,北極光,紅狐,海風,金門,白玫瑰,黑天鵝,綠島,夏雨".split(",")
ZH_VESSELS = "帆船,漁船,貨輪,渡輪,拖船,遊艇,研究船".split(",")
ZH_TROUBLES = (
    "我們正在進水,我們正在下沉,船上失火,引擎故障,船舵失靈,我們擱淺了,有人落水,"
    "船長受傷,我們失去動力,正在向北漂流,正在向南漂流"
).split(",")
ZH_NEEDS = (
    "請求立即救援,請派救生艇,請派直升機,我們需要拖船,請轉達訊息,在十六頻道待命,全員平安,完畢"
).split(",")
ZH_WEATHER = "強風,大霧,大雨,海面平靜,雷雨,晴天".split(",")


@dataclass(frozen=True)
class Radio:
    """Says a sentence at a time."""

    choose: random.Random
    language: str

    def sentence(self) -> str:
        return self._english() if self.language == "en" else self._chinese()

    def _digits(self, count: int) -> str:
        return " ".join(self.choose.choice(DIGITS) for _ in range(count))

    def _english(self) -> str:
        r, pick = self.choose, self.choose.choice
        match r.randrange(12):
            case 0:
                return f"Mayday, mayday, mayday. This is {pick(VESSELS)} {pick(NAMES)}."
            case 1:
                return f"{pick(TROUBLES).capitalize()}, {pick(NEEDS)}."
            case 2:
                degrees, minutes = self._digits(2), self._digits(2)
                side = pick(["north", "south"])
                return f"Our position is {degrees} degrees {minutes} minutes {side}."
            case 3:
                letters = " ".join(r.sample(NATO, r.randint(2, 4)))
                return f"Call sign {letters} {self._digits(r.randint(1, 3))}."
            case 4:
                who = pick(["people", "persons", "crew", "passengers"])
                return f"There are {pick(DIGITS)} {who} on board."
            case 5:
                when = f"Weather forecast for the {pick(TIMES)}"
                return f"{when}, {pick(WEATHER)} from the {pick(DIRECTIONS)}."
            case 6:
                return f"{pick(STATIONS)}, this is {pick(NAMES)}, {pick(NEEDS)}."
            case 7:
                turn = f"Turn {pick(['left', 'right'])} to heading {self._digits(3)}"
                return f"{turn}, speed {pick(DIGITS)} knots."
            case 8:
                return f"Pan pan, pan pan. {pick(TROUBLES).capitalize()}."
            case 9:
                return f"{' '.join(r.sample(NATO, r.randint(3, 6)))}."
            case 10:
                return f"{pick(VESSELS).capitalize()} {pick(NAMES)}, {pick(TROUBLES)}."
            case _:
                name = pick(NAMES)
                order = pick(
                    [
                        "Help is on the way",
                        "Stay on this channel",
                        f"Switch to channel {self._digits(2)}",
                        "Say again your position",
                        "What is your call sign",
                    ]
                )
                return f"Message received, {name}. {order}."

    def _chinese(self) -> str:
        r, pick = self.choose, self.choose.choice

        def digits(count: int) -> str:
            return "".join(pick(ZH_DIGITS) for _ in range(count))

        match r.randrange(7):
            case 0:
                return f"求救，求救，這裡是{pick(ZH_VESSELS)}{pick(ZH_NAMES)}號。"
            case 1:
                return f"{pick(ZH_TROUBLES)}，{pick(ZH_NEEDS)}。"
            case 2:
                return f"我們的位置是{pick(['北緯', '南緯'])}{digits(2)}度{digits(2)}分。"
            case 3:
                return f"船上有{pick(ZH_DIGITS[1:])}個人。"
            case 4:
                day = f"今天{pick(['早上', '下午', '晚上'])}{pick(ZH_WEATHER)}"
                return f"{day}，{pick('東西南北')}風{pick(ZH_DIGITS[1:])}級。"
            case 5:
                station = pick(["海巡署", "港口", "救生艇"])
                return f"{station}，這裡是{pick(ZH_NAMES)}號，{pick(ZH_NEEDS)}。"
            case _:
                return f"呼號{digits(4)}。"
