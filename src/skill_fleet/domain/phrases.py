"""The phrases of descriptions, by which their sentences are told apart, and the voices in which people wish.

Collected from several hundred public skills. A phrase that is missing here costs a wish its elegance, never
its honesty: what is not recognised is kept as it is or left out.
"""

import re

DO_VOICES = (
    "I'd like an assistant that can {}.",
    "Our team needs help to {}.",
    "Please teach the agent to {}.",
    "We keep having to {}, and everybody does it differently.",
    "Write down how to {}, so that anyone here can do it.",
    "Can we have something that shows how to {}?",
    "I am asked again and again to {}, so the agent should know how.",
    "Without asking me, newcomers should be able to {}.",
)
ABOUT_VOICES = (
    "I need solid guidance on {}.",
    "Please collect what one has to know about {}.",
    "Our agent should know its way around {}.",
    "We want one place that explains {}.",
    "Can we have something about {}?",
    "I'd like help with {}.",
)
OCCASION_VOICES = (
    "It comes up {}.",
    "We need it mostly {}.",
    "I would reach for it {}.",
    "Most of all I want it {}.",
    "This matters {}.",
)
ONLY_OCCASION_VOICES = (
    "I need somebody to guide me {}.",
    "Please put together what helps {}.",
    "Our agent is lost {}.",
    "We want good advice at hand {}.",
)
DETAIL_VOICES = (
    "It should cover {}.",
    "Please include {}.",
    "Do not leave out {}.",
)

MARKUP = re.compile(r"<[^<>]{0,80}>|\*\*|[`\"“”„]|(?<!\w)['‘]|['’](?!\w)")
BULLET = re.compile(r"\s*\n\s*(?:[-*•]|\d+[.)])\s+")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^\W_a-z]|[(.])")
INNER_USE = re.compile(
    r"[;,.:—–-]+\s+(?=(?:also )?(?:use|apply|activate|trigger) (?:\w+ ){0,3}?(?:when|whenever|if)\b)",
    re.IGNORECASE,
)
DROPPED = re.compile(
    r"(?:do not|don't|never|not for|avoid|skip|only|triggers?\b|keywords?|trigger phrases|examples?\b|invoke|"
    r"always|requires?|must|note|important|mandatory|start here|see |prefer |based on|inputs?\b|outputs?\b|"
    r"returns?\b|even if|this includes|also triggers|for [^,]*, use|no |it |they |all )",
    re.IGNORECASE,
)
OCCASION = re.compile(
    r"(?:(?:also|consider|please|and|or|can|this|the|a|skill|tool|it|should|must|is|be|best|automatically|use|"
    r"used|using|apply|activate|activating|invoke|trigger|load|call|reach|helpful|useful|ideal|perfect|designed|"
    r"whenever needed|proactively|directly|them|when needed)\b[\s:,]*)*"
    r"\b(?P<how>when(?:ever)?|if|before|after|during|while|for)\b[\s:,]+(?P<rest>.+)",
    re.IGNORECASE | re.DOTALL,
)
SUBJECT = re.compile(
    r"(?:this|the|an?)?\s*(?:agent )?(?:skill|tool|prompt|workflow)\s+"
    r"(?:that |which |to |for |is (?:for|about) |"
    r"(?:enables?|helps?|allows?|lets?|guides?|teach(?:es)?) (?:\w+ ){0,2}?(?:to |in |with )?)",
    re.IGNORECASE,
)
HELPS = re.compile(
    r"(?:helps?|guides|guide (?=users|you)|assists?|enables?|walks?|teach(?:es)?|allows?|lets?) "
    r"(?:(?:the |an? )?(?:users?|you|agents?|claude|developers?|teams?|people|copilot cli|the copilot cli) )?"
    r"(?:(?:to|with|in|through|on how to|how to) )?",
    re.IGNORECASE,
)
HEAD = re.compile(
    r"(?:an? |the )?(?:[\w-]+ ){0,6}?(?:guide|toolkit|prompt|workflow|skill|reference|instructions|guidance|"
    r"expert|expertise|knowledge|assistant|generator|suite|helper|patterns and techniques|capability|tool)"
    r"(?: and \w+)? (?:(?:for|on|of|about|in|that|which|to)) ",
    re.IGNORECASE,
)
USE_TO = re.compile(r"use (?:[\w.-]+ ){1,4}?to ", re.IGNORECASE)
COVERS = re.compile(
    r"(?:it |this skill )?(?:also )?(?:covers?|covering|includes?|handles?|supports?)\b:?\s+", re.IGNORECASE
)
PEOPLE = (
    (re.compile(r"\b(?:the|an?) user(?:'s)\b", re.IGNORECASE), "someone's"),
    (
        re.compile(
            r"\b(?:the|an?) user\b|\buser(?= (?:wants|asks|needs|mentions|says|requests|is))", re.IGNORECASE
        ),
        "someone",
    ),
    (re.compile(r"\busers(?= (?:want|ask|need|mention|say|request|are))", re.IGNORECASE), "people"),
    (re.compile(r"\byou're\b", re.IGNORECASE), "we're"),
    (re.compile(r"\byou\b", re.IGNORECASE), "we"),
    (re.compile(r"\byour\b", re.IGNORECASE), "our"),
    (re.compile(r"\bclaude\b", re.IGNORECASE), "the agent"),
)
COORDINATED = re.compile(r"(, (?:and |or |then )?|\b(?:and|or|then) )([a-z-]+)\b")
EMPTY_VERBS = frozenset(("master", "get", "give", "provide"))
FUNCTION_WORDS = frozenset(
    """
    a an and are as at by but for from if in into is it of on or that the to via when while with without
    """.split()
)
LOOSE_END = re.compile(
    r"(?:[\s,;:(–—-]|\b(?:and|or|with|for|to|of|in|the|a|an|by|from|on|via|using|including|such as|as|when|"
    r"if|that))+$",
    re.IGNORECASE,
)
COMMON = frozenset(
    """
    a all an best better build building common complete comprehensive correct creating custom deep detailed
    different end every expert fast four full good how important incremental intelligent interactive it
    modern new practical production proper quality reusable rigorous secure security shared someone step
    strategic structured surgical systematic the these this three two unit universal users using visual what
    when working writing you
    """.split()
)
