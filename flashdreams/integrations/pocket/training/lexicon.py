"""Words of the grammar that teaches the text encoder, by what they name."""

from __future__ import annotations

KIND_NOUNS = {
    "meadow": "meadow field grassland prairie pasture steppe countryside farmland plain lawn",
    "forest": "forest wood woods woodland jungle rainforest",
    "desert": "desert dune dunes canyon mesa sahara wasteland",
    "town": "town city downtown suburb metropolis",
    "snow": "snow winter ice arctic tundra glacier snowfield",
    "coast": "coast sea beach ocean island harbour harbor shore seaside seashore bay coastline cove port",
    "garden": "garden park",
}
KIND_ADJECTIVES = {
    "meadow": "grassy", "forest": "forested", "desert": "arid", "town": "urban",
    "snow": "snowy frozen icy wintry polar frosty", "coast": "coastal",
}  # fmt: skip
HINTS = {
    "meadow": "grass spring hill hills hilly valley farm flower flowers wildflower",
    "forest": "pines mushroom wild wilderness moss fern",
    "desert": "sand dry tent sandy",
    "town": "square market lamp lamps plaza marketplace",
    "snow": "cold snowman frost igloo",
    "coast": "boat boats ship sailboat pier wave shell tropical",
    "garden": "cherry temple lantern lanterns shrine bamboo petal japanese",
}
"""Words that choose a kind of land only where a line says nothing else about the land."""
THINGS = {
    "trees": "tree bush shrub plant oak birch fir spruce willow maple hedge orchard grove thicket vegetation greenery"
    " conifer pine poplar",
    "houses": "house home village cottage hut building cabin farmhouse hamlet barn villa chalet lodge shed settlement",
    "water": "water pond river stream brook creek pool puddle canal swamp marsh",
    "rocks": "rock stone boulder cliff mountain crag pebble",
    "ways": "path road way trail track lane footpath route alley",
    "towers": "tower lighthouse landmark castle spire steeple watchtower turret belfry fortress",
}
MASS = frozenset("water vegetation greenery".split())
"""Nouns without a plural."""
HINTING_THINGS = {
    "palm": ("trees", "coast"), "pines": ("trees", "forest"), "cactus": ("trees", "desert"),
    "lake": ("water", "coast"), "lagoon": ("water", "coast"), "oasis": ("water", "desert"),
    "pagoda": ("towers", "garden"), "street": ("ways", "town"), "streets": ("ways", "town"),
    "blossom": ("trees", "garden"), "skyscraper": ("towers", "town"),
}  # fmt: skip
"""Things, and the kind of land that they choose where a line says nothing else about the land."""
ADJECTIVES = {
    "treeless": ("trees", 0), "barren": ("trees", 0), "wooded": ("trees", 7), "leafy": ("trees", 7),
    "bushy": ("trees", 7), "lush": ("trees", 8), "overgrown": ("trees", 8), "rocky": ("rocks", 7),
    "stony": ("rocks", 7), "mountainous": ("rocks", 8), "uninhabited": ("houses", 0), "deserted": ("houses", 0),
    "populated": ("houses", 7), "inhabited": ("houses", 7), "pathless": ("ways", 0), "roadless": ("ways", 0),
    "waterless": ("water", 0), "watery": ("water", 7), "swampy": ("water", 7),
}  # fmt: skip
TIMES = {
    "night": 23.0, "midnight": 0.5, "morning": 8.0, "dawn": 6.0, "sunrise": 6.25, "noon": 12.0, "day": 11.0,
    "afternoon": 15.5, "evening": 18.75, "sunset": 18.5, "dusk": 19.5, "twilight": 19.5, "daytime": 11.0,
    "daylight": 11.0, "midday": 12.0, "daybreak": 6.0, "sundown": 18.5, "nightfall": 20.5, "moonlight": 23.0,
    "moonlit": 23.0, "dark": 23.0, "darkness": 23.0, "nighttime": 23.0, "moon": 23.0, "darker": 23.0, "brighter": 11.0,
}  # fmt: skip
TIME_PHRASES = {
    "early morning": 6.75, "early in the morning": 6.75, "late morning": 10.0, "late in the morning": 10.0,
    "early afternoon": 13.5, "early in the afternoon": 13.5, "late afternoon": 17.0, "late in the afternoon": 17.0,
    "early evening": 17.75, "early in the evening": 17.75, "late evening": 21.0, "late in the evening": 21.0,
    "late at night": 23.5, "the middle of the night": 0.5, "the middle of the day": 12.0, "first light": 6.0,
    "the dead of night": 0.5, "golden hour": 18.0, "lunchtime": 12.0,
    "bright day": 11.0, "broad daylight": 11.0, "bright daylight": 11.0,
}  # fmt: skip
EVENTS = ("sunset", "sunrise", "dawn", "dusk", "noon", "midnight", "midday", "nightfall", "daybreak", "sundown")
OFFSETS = {
    "half an hour": 0.5, "an hour": 1.0, "one hour": 1.0, "two hours": 2.0, "three hours": 3.0, "just": 0.25,
    "shortly": 0.25, "soon": 0.25, "a quarter of an hour": 0.25, "an hour and a half": 1.5,
}  # fmt: skip
WEATHER = {
    ("clouds", 0): "clear|sunny|cloudless|a clear sky|clear sky|clear skies|a blue sky|blue skies|blue sky|sunshine|"
    "no clouds|without clouds|not a cloud|not a single cloud|a cloudless sky|good weather|not cloudy|fine weather|"
    "in the sun|in the sunshine|the clouds should go|under a clear sky|under a blue sky",
    ("clouds", 2): "few clouds|a few clouds|fewer clouds|less clouds|hardly any clouds|less cloudy|mostly clear|"
    "mostly sunny|slightly cloudy|a bit cloudy|too many clouds|hardly a cloud",
    ("clouds", 4): "some clouds|partly cloudy|partly sunny|half cloudy|several clouds|scattered clouds",
    ("clouds", 7): "clouds|cloudy|a cloudy sky|cloudy skies|clouds in the sky|bad weather|under clouds|add clouds",
    ("clouds", 8): "overcast|many clouds|more clouds|a grey sky|grey sky|grey skies|gray sky|gloomy|thick clouds|"
    "heavy clouds|dark clouds|very cloudy|lots of clouds|full of clouds|an overcast sky|under a grey sky|more cloudy|"
    "covered in clouds|dense clouds",
    ("fog", 0): "no fog|no mist|without fog|not foggy|not misty|no more fog|the fog should lift|the fog lifts|"
    "the fog should clear|stop the fog|remove the fog|fog off|without any mist|no haze|take away the mist|"
    "the mist should go|no longer foggy|the mist is gone|get rid of the fog|the fog should disappear|i want no mist",
    ("fog", 2): "less fog|less mist|a little fog|a bit of fog|a bit foggy|slightly foggy|slightly misty|light fog|"
    "light mist|thin mist|thin fog|a light haze|faint mist|slight haze|a touch of mist|hardly any fog|not much fog|"
    "not too foggy|too much fog|less foggy|a bit of mist|a little misty|too foggy|thinner fog",
    ("fog", 4): "some fog|some mist|haze|hazy|some haze|somewhat foggy|a hazy light",
    ("fog", 7): "fog|mist|foggy|misty|in the fog|in the mist|fog over it|mist rising|add fog|with fog|in mist|"
    "let there be fog|let there be mist|a foggy day light",
    ("fog", 8): "thick fog|dense fog|heavy fog|thick mist|more fog|very foggy|more mist|lots of fog|dense mist|"
    "even more fog|really foggy|much fog|very misty|thicker fog",
    ("rain", 0): "no rain|without rain|stop the rain|not raining|no longer raining|the rain should stop|rain off|"
    "no more rain|it should not rain|it is not raining|it stops raining|the rain stops|stop raining|not rainy|"
    "without any rain|it should stop raining|the rain is over|not raining anymore|no storm|no drizzle",
    ("rain", 2): "drizzle|light rain|a bit of rain|less rain|a little rain|hardly any rain|drizzling|slight rain|"
    "not much rain|a drizzle|too much rain|a few drops of rain|a light rain",
    ("rain", 4): "some rain|showers|a shower|rain showers",
    (
        "rain",
        7,
    ): "rain|raining|rainy|let it rain|it should rain|it is raining|in the rain|it rains|start raining|rain is coming|"
    ""
    "rain falling|the rain falls|falling rain|make it rain|add rain|with rain|rainfall|on a rainy",
    ("rain", 8): "heavy rain|pouring rain|downpour|a downpour|storm|a storm|stormy|more rain|lots of rain|thunderstorm|"
    "it is pouring|strong rain|a thunderstorm|raining hard|a storm is coming|in a storm|heavy showers|much rain",
    ("snowfall", 0): "no snowfall|stop snowing|not snowing|no longer snowing|it should not snow|without snowfall|"
    "it should stop snowing|it stops snowing|the snow stops falling|not snowing anymore|no snowflakes|no blizzard|"
    "it is not snowing",
    ("snowfall", 2): "light snowfall|less snowfall|a few snowflakes|flurries|snow flurries|a bit of snowfall|"
    "hardly any snowfall|a light snowfall",
    ("snowfall", 4): "some snowfall|some snowflakes",
    ("snowfall", 7): "snowing|snowfall|snowflakes|falling snow|snow is falling|let it snow|it should snow|it snows|"
    "it is snowing|snow falling|snow falls|make it snow|snow falling from the sky|start snowing|the snow falls",
    ("snowfall", 8): "heavy snowfall|blizzard|a blizzard|snowstorm|a snowstorm|more snowfall|snowing hard|"
    "thick snowfall|lots of snowflakes|many snowflakes|in a blizzard|dense snowfall",
}
"""Phrases, separated by bars, by what they say of the weather."""
BOTH = {
    "starry": {"hour": 23.0, "clouds": 0}, "starry night": {"hour": 23.0, "clouds": 0},
    "stars": {"hour": 23.0, "clouds": 0}, "under the stars": {"hour": 23.0, "clouds": 0},
    "a starry sky": {"hour": 23.0, "clouds": 0}, "stars in the sky": {"hour": 23.0, "clouds": 0},
}  # fmt: skip
"""Phrases that name a time and the weather."""
COLOUR_WORDS = {
    "red": "red crimson scarlet", "orange": "orange amber", "yellow": "yellow golden gold", "green": "green emerald",
    "blue": "blue azure", "white": "white whitewashed", "grey": "grey gray silver", "brown": "brown",
    "pink": "pink rose", "black": "black", "purple": "purple violet lilac", "turquoise": "turquoise teal cyan",
}  # fmt: skip
PART_NOUNS = {
    "leaf": "leaf leaves foliage crown", "roof": "roof roofs rooftop", "wall": "wall walls facade",
    "ground": "ground soil earth grass sand", "path": "pavement", "accent": "door flower flowers flag boat boats",
}  # fmt: skip
THING_PARTS = {"trees": "leaf", "houses": "wall", "ways": "path"}
KIND_PARTS = {"meadow": "ground", "forest": "leaf", "desert": "ground", "coast": "ground"}
"""The part that a colour before a thing or a kind of land paints."""
NONE = (
    "no|without|without any|zero|not any|no more|not a single|not one|free of|lacking|devoid of|not|never any|"
    "there are no|there is no|i want no|with no|and no"
)
FEW = (
    "few|fewer|a few|only a few|very few|hardly any|barely any|not many|not so many|a couple of|one or two|two|three|"
    "less|a handful of|scattered|sparse|rare|occasional|slightly fewer|not too many|too many|far fewer|much less|"
    "scarcely any|just a few|even fewer|not much|too much|a bit fewer|slightly less|much fewer|four|one"
)
ONE = "one|a single|one single|a lone|a lonely|hardly a|only one|just one|one lonely|a solitary|the odd|barely a"
SOME = "some|several|a number of|a moderate number of|a usual number of|a normal amount of|a fair number of|medium"
SMALL = "a small|a little|small|a tiny"
NAMED = "|the|five|six|seven|eight|nine|ten|a bit more|some more|slightly more|these"
MANY = (
    "many|more|lots of|a lot of|plenty of|full of|many more|a lot more|even more|loads of|tons of|heaps of|countless|"
    "numerous|hundreds of|thousands of|dozens of|a hundred|a thousand|so many|not enough|too few|covered with|"
    "covered in|packed with|crowded with|rich in|dense|big|much|much more|masses of|an abundance of|filled with|"
    "overgrown with|more and more|really many|very many|huge|large|far more|endless|a large number of|abundant"
)
GREAT = "a dense|a big|a large|a huge|an enormous|a great|a giant|a vast|a thick|many a"
LEADS = (
    "please|i want|show me|can we have|let there be|give me|there should be|i would like to see|let us go to|"
    "walk through|take me to|how about|what about|now|maybe|i would like|could you make|could we see|bring me to|"
    "i want to see|let me see|id like|we need|there is|there are|make it|here|i see|we want to go to|lets go to|"
    "could you put|start in|put me in|imagine|a place with|a land with|a world of|somewhere with|a landscape with|"
    "just|only|then|suddenly|draw|create|go to|it is|it should be|we are in|this is|i am in|a view of|a scene with|"
    "can i have|may i have|would you|will you|try|add|bring|my|our|your|something like|also|well|so|and then|still|"
    "something like|id love|it would be nice to have|walking through|wandering through|on the way to|around here"
)
TAILS = (
    "anywhere|somewhere|all around|on the left|on the right|if you can|ok|today|outside|please|here|now|ahead|around|"
    "there|pls|around me|in front of me|for me|over there|in this place|too|behind it|again"
)
JOINTS = (
    "with|by|near|beside|in|on|next to|behind|between|above|along|around|at|close to|under|and|over|among|surrounded by"
)
ALONE_NOTHING = "|".join(
    (LEADS, TAILS, JOINTS, NONE, FEW, ONE, SOME, SMALL, NAMED, MANY, GREAT, "is|are|colour|painted")
)
"""Words that name nothing by themselves."""
